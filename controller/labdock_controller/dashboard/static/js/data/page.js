// The data pages: events over time, newest events, files that are dropped or chosen, tokens of the event collector.
import { $, $$, ask, copy, el, form, moment, notice, number, plural, shown, size, toast } from "../search/common.js";
import { open } from "../dialogs.js";
import { refresh } from "../refresh.js";
import { sparks } from "./sparks.js";
import { send } from "./send.js";

sparks();

// -- an index's newest events

for (const place of $$("[data-sample]")) {
  ask("GET", `/api/indexes/${encodeURIComponent(place.dataset.sample)}/sample`, { query: { count: 20 } }).then(
    ({ rows }) => place.replaceChildren(rows.length ? events(rows) : el("p", { class: "faint" }, "No events.")),
    (problem) => place.replaceChildren(notice(problem)),
  );
}

function events(rows) {
  const list = el("ol", { class: "events" });
  for (const row of rows) {
    const pairs = el("div", { class: "pairs-inline" });
    for (const [name, value] of Object.entries(row)) {
      if (name === "_time" || name === "_raw" || value === null || (Array.isArray(value) && !value.length)) continue;
      pairs.append(el("span", {}, el("span", { class: "faint" }, name), ` ${shown(value, name)}`));
    }
    list.append(el("li", {}, el("time", { class: "mono small" }, moment(row._time)), row._raw ? el("code", { class: "raw" }, row._raw) : pairs));
  }
  return list;
}

// -- files

let dropped = null;

function list(box, files) {
  $("[data-files]", box).replaceChildren(...[...files].map((file) => el("li", {}, el("span", {}, file.name), el("span", { class: "number faint" }, size(file.size)))));
}

for (const zone of $$("[data-dropzone]")) {
  const input = $("input[type=file]", zone);
  const box = zone.closest("form");
  const took = () => {
    list(box, input.files);
    const name = box.elements.name;
    if (name && input.files[0]) name.value = input.files[0].name.replace(/\.gz$/, "").replace(/\.[^.]*$/, "").replace(/[^A-Za-z0-9_-]+/g, "_").replace(/^[^A-Za-z0-9_]+/, "") + ".csv";
  };
  input.addEventListener("change", took);
  for (const kind of ["dragover", "dragleave", "drop"]) {
    zone.addEventListener(kind, (event) => {
      event.preventDefault();
      event.stopPropagation();
      zone.classList.toggle("over", kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files.length) {
        input.files = event.dataTransfer.files;
        took();
      }
    });
  }
}

const whole = $("[data-drop-page]");
if (whole && !whole.hasAttribute("data-no-drop")) {
  let depth = 0;
  const note = $("[data-drop-note]");
  const files = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
  addEventListener("dragenter", (event) => files(event) && (note.hidden = (depth += 1) === 0));
  addEventListener("dragleave", (event) => files(event) && (note.hidden = (depth -= 1) <= 0));
  addEventListener("dragover", (event) => files(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!files(event)) return;
    event.preventDefault();
    depth = 0;
    note.hidden = true;
    const id = $("#ingest") ? "ingest" : "add-lookup";
    const input = $(`#${id} input[type=file]`);
    input.files = event.dataTransfer.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
    open(id);
  });
}

const ingest = $("[data-ingest]");
ingest?.addEventListener("submit", (event) => {
  event.preventDefault();
  addEvents(ingest.closest("dialog"), ingest, new FormData(ingest));
});

async function addEvents(dialog, box, given) {
  const button = $("[data-submit]", box);
  const problem = $("[data-problem]", box);
  problem.hidden = true;
  button.setAttribute("aria-busy", "true");
  const rows = $$("[data-files] li", box);
  const reports = [];
  try {
    for (const [at, file] of [...given.getAll("files")].entries()) {
      const query = { file_name: file.name, again: given.get("again") === "on" };
      for (const name of ["sourcetype", "source", "time_field"]) if (given.get(name)) query[name] = given.get(name);
      reports.push(await send(`/api/indexes/${encodeURIComponent(given.get("index"))}/ingest`, query, file, rows[at]));
    }
    dialog.close();
    box.reset();
    list(box, []);
    report(reports, given.get("index"));
    refresh();
    sparks({ again: true });
  } catch (error) {
    problem.replaceChildren(notice(error));
    problem.hidden = false;
  } finally {
    button.removeAttribute("aria-busy");
  }
}

/** Rows that came in, and each line that did not with its reason. */
function report(reports, index) {
  const place = $("[data-report]");
  place.replaceChildren();
  for (const each of reports) {
    for (const file of each.files) {
      const words = file.error ? file.error : file.skipped ? "It was added before; nothing was added now." : `${plural(file.rows, "event")} in ${index}${file.bad ? `, ${plural(file.bad, "line")} left out` : ""}${file.undated ? `, ${plural(file.undated, "event")} without a time of its own` : ""}.`;
      place.append(notice({ message: `${file.name}: ${words}` }, file.error ? "bad" : file.bad || file.skipped ? "warn" : "good"));
      for (const said of file.notices) place.append(el("p", { class: "hint" }, said));
      if (!file.problems.length) continue;
      const body = el("tbody", {});
      for (const wrong of file.problems.slice(0, 100)) {
        body.append(el("tr", {}, el("td", { class: "number" }, number(wrong.line)), el("td", {}, wrong.reason), el("td", {}, el("code", {}, String(wrong.text).slice(0, 200)))));
      }
      place.append(el("div", { class: "table" }, el("table", {}, el("thead", {}, el("tr", {}, el("th", { class: "number" }, "Line"), el("th", {}, "Why it was left out"), el("th", {}, "What it holds"))), body)));
    }
    if (each.error_report) place.append(el("p", {}, el("a", { href: `/api/ingest-errors/${each.error_report}`, download: true }, "Download all lines that were left out")));
  }
  place.append(el("p", {}, el("a", { class: "button", href: `/search?q=${encodeURIComponent(`index=${index} | head 1000`)}` }, "Search them")));
  open("report");
}

// -- lookups

const adding = $("[data-add-lookup]");
adding?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const given = new FormData(adding);
  const button = $("[data-submit]", adding);
  const problem = $("[data-problem]", adding);
  problem.hidden = true;
  button.setAttribute("aria-busy", "true");
  try {
    const query = { name: given.get("name"), app: adding.dataset.app, sharing: given.get("sharing"), replace: given.get("replace") === "on" };
    const made = await send("/api/lookups", query, given.get("files"), $("[data-files] li", adding));
    adding.closest("dialog").close();
    adding.reset();
    list(adding, []);
    toast(`${made.name}: ${plural(made.rows, "row")}.`, { remedy: (made.notices || []).join(" ") });
    refresh();
  } catch (error) {
    problem.replaceChildren(notice(error));
    problem.hidden = false;
  } finally {
    button.removeAttribute("aria-busy");
  }
});

// -- the event collector

const token = $("#collector-token");
if (token) {
  token.addEventListener("labdock:opened", () => form(token, async (given) => {
    const made = await ask("POST", "/api/tokens", { body: { name: given.name, capabilities: ["send_events"] } });
    const code = $("[data-token-command]");
    code.textContent = `curl ${code.dataset.address} -H "Authorization: Splunk ${made.token}" -d '{"event": "hello", "index": "${code.dataset.index}"}'`;
    $("[data-token-made]").hidden = false;
    $("[data-token-made]").scrollIntoView({ block: "nearest" });
  }));
  $("[data-token-copy]").addEventListener("click", () => copy($("[data-token-command]").textContent));
}
