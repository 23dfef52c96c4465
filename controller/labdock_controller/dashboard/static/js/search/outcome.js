// What the search page says of a job: its progress, its figures, why it failed, that nothing was found.
import { $, el, notice, number, plural, seconds } from "./common.js";

/** Which parts are there: start, running, done, ended, failed. */
export function show(state) {
  $("[data-search-page]").dataset.state = state;
  $("[data-start]").hidden = state !== "start";
  $("[data-running]").hidden = state !== "running";
  $("[data-result]").hidden = state !== "done";
  $("[data-after]").hidden = state !== "done";
  $("[data-run]").setAttribute("aria-busy", String(state === "running"));
}

export function progress(now) {
  const bar = $("[data-progress]");
  if (now.progress === null || now.progress === undefined) bar.removeAttribute("value");
  else bar.value = now.progress;
  $("[data-progress-text]").textContent = `${number(now.scanned)} rows scanned · ${plural(now.rows, "row")} found · ${seconds(now.duration)}`;
}

export const facts = (now) => `${plural(now.rows, "row")} · ${number(now.scanned)} scanned · ${seconds(now.duration)}`;

/** The problem above the result; `mend({from, to, text})` is told a replacement that the user takes. */
export function refused(problem, now, mend) {
  const words = notice(problem);
  const { nearest, position, length } = problem.details || {};
  if (nearest && Number.isFinite(position) && length) {
    const change = { from: position, to: position + length, text: nearest };
    words.append(el("button", { type: "button", class: "small", onclick: () => mend(change) }, `Use ${nearest}`));
  }
  $("[data-error]").replaceChildren(words);
  $("[data-summary]").textContent = now ? `Failed after ${seconds(now.duration)}` : "";
}

/** In place of rows; `everywhen()` searches over all time. */
export function nothing(now, everywhen) {
  const made = el("div", { class: "none" }, el("h2", {}, "Nothing found"));
  const ways = el("ul", {});
  if (now.earliest || now.latest) {
    ways.append(el("li", {}, el("button", { type: "button", class: "small", onclick: everywhen }, "Search over all time")));
  }
  const said = now.scanned ? `${number(now.scanned)} rows were looked at and none fits.` : "No data was read: check the name of the index and the time range.";
  made.append(el("p", { class: "soft" }, said), ways);
  return made;
}
