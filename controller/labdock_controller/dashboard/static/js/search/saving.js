// What is made of a search: an alert, a report, a lookup, a table in an environment.
import { $, ZONE, ask, el, form, plural, toast } from "./common.js";
import { definitionOf } from "../alerts/definition.js";

/** Wires the dialogs. `current()` gives `{job, search, earliest, latest, app}`. */
export function saving({ current }) {
  const opener = (name, open) => $(`[data-save="${name}"]`)?.addEventListener("click", (event) => {
    event.target.closest("details")?.removeAttribute("open");
    open();
  });

  opener("alert", () => form($("#save-alert"), async (given, made) => {
    const { search, earliest, latest, app } = current();
    const body = { ...definitionOf(given, made), search, earliest, latest, app, timezone: ZONE };
    await ask("PUT", `/api/saved-searches/${encodeURIComponent(given.name)}`, { body, query: { replace: given.replace === "on" } });
    saved(`/alerts/${encodeURIComponent(given.name)}`, `The alert ${given.name} runs: ${given.schedule}.`);
  }));

  opener("report", () => form($("#save-report"), async (given) => {
    const { search, earliest, latest, app } = current();
    const body = { search, earliest, latest, app, timezone: ZONE, description: given.description };
    await ask("PUT", `/api/saved-searches/${encodeURIComponent(given.name)}`, { body, query: { replace: given.replace === "on" } });
    saved(`/alerts/${encodeURIComponent(given.name)}`, `The report ${given.name} is saved.`);
  }));

  opener("lookup", () => form($("#save-lookup"), async (given) => {
    const body = { name: given.name, sharing: given.sharing, replace: given.replace === "on" };
    const made = await ask("POST", `/api/searches/${current().job.id}/lookup`, { body });
    saved(`/data/lookups/${encodeURIComponent(made.name)}`, `${plural(made.rows, "row")} in the lookup ${made.name}.`);
  }));

  opener("stage", async () => {
    const dialog = $("#stage");
    form(dialog, async (given) => {
      const body = { environment: given.environment, model: given.model, algo: given.algo };
      const made = await ask("POST", `/api/searches/${current().job.id}/stage`, { body });
      toast(`${plural(made.rows, "row")} sent: ${made.files.join(", ")}.`, { remedy: made.notices.join(" ") });
    });
    await environments($("[name=environment]", dialog), $("[data-problem]", dialog));
  });
}

/** Those that run come first; one that is stopped is started for the rows. */
async function environments(select, problem) {
  const before = select.value;
  try {
    const found = await ask("GET", "/api/environments");
    const usable = found.filter((e) => e.status === "running" || e.status === "stopped").sort((a, b) => (b.status === "running") - (a.status === "running"));
    select.replaceChildren(...usable.map((e) => el("option", { value: e.name, selected: e.name === before }, e.status === "running" ? e.name : `${e.name} (${e.status}, is started for it)`)));
    if (!usable.length) {
      problem.replaceChildren(el("p", {}, "No environment is there to send rows to."), el("p", {}, el("a", { href: "/environments" }, "Start one")));
      problem.hidden = false;
    }
    select.form.querySelector("[data-submit]").disabled = !usable.length;
  } catch (error) {
    problem.replaceChildren(el("p", {}, error.message));
    problem.hidden = false;
  }
}

function saved(address, words) {
  const box = toast(words);
  box.querySelector("div").append(el("p", {}, el("a", { href: address }, "Look at it")));
}
