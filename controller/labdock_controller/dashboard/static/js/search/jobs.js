// One's searches of the last hour: those that run and those whose rows are kept.
import { $, ask, el, notice, number, seconds } from "./common.js";

const KINDS = { running: "busy", done: "good", failed: "bad", cancelled: "off" };

/** Fills `dialog` whenever it opens; `opened(job)` shows one. */
export function jobList(dialog, { opened }) {
  const place = $("[data-jobs]", dialog);

  async function draw() {
    try {
      const jobs = (await ask("GET", "/api/searches")).reverse();
      place.replaceChildren(...(jobs.length ? jobs.map(entry) : [el("li", { class: "none" }, "No search of the last hour.")]));
    } catch (problem) {
      place.replaceChildren(notice(problem));
    }
  }

  function entry(job) {
    const tool = (label, method, path) => el("button", {
      type: "button", class: "small", "aria-label": `${label}: ${job.search.slice(0, 80)}`,
      onclick: async () => {
        await ask(method, path, method === "POST" ? { body: {} } : {}).catch(() => {});
        draw();
      },
    }, label);
    return el("li", { "data-item": true },
      el("span", { class: `chip ${KINDS[job.status]}` }, el("span", { class: "mark", "aria-hidden": "true" }), job.status),
      el("button", { type: "button", class: "past-search", onclick: () => (dialog.close(), opened(job)) }, el("code", {}, job.search)),
      el("span", { class: "number small faint" }, `${number(job.rows)} rows · ${seconds(job.duration)}`),
      job.status === "running" ? tool("Cancel", "POST", `/api/searches/${job.id}/cancel`) : tool("Forget", "DELETE", `/api/searches/${job.id}`));
  }

  dialog.addEventListener("labdock:opened", draw);
}
