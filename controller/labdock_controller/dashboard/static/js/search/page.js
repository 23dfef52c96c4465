// The search page. Its address holds the search (`q`, `earliest`, `latest`, `app`) and the job that found its rows
// (`job`), so Back, a reload and a second window show the same; the job goes on whoever looks at it.
import { $, $$, Problem, ZONE, ask, notice, number, plural, toast } from "./common.js";
import { Charts } from "./charts.js";
import { chosen, keep, named } from "./columns.js";
import { copying } from "./copying.js";
import { editor } from "./editor.js";
import { Fields } from "./fields.js";
import { Filters } from "./filters.js";
import { follower } from "./follower.js";
import { jobList } from "./jobs.js";
import { narrowed } from "./narrowing.js";
import { facts, nothing, progress, refused, show } from "./outcome.js";
import { pastSearches } from "./past.js";
import { openRow } from "./row.js";
import { saving } from "./saving.js";
import { MOST_ROWS, ResultTable } from "./table.js";
import { prepare } from "./tabulator.js";
import { timeRange } from "./times.js";
import { timeline } from "./timeline.js";

const CHANGES = /\|\s*(outputlookup|deletemodel|fit)\b/i; // a link alone shall run none of these

const page = $("[data-search-page]");
const app = page.dataset.app || "search";
let job = null;
let columns = [];

const range = timeRange($("[data-range]"), $("[data-range-panel]"), () => run());
const input = editor($("[data-editor]"), {
  text: "",
  run: () => run(),
  past: () => past.list,
  fields: () => job?.fields.map((f) => f.name) || [],
  changed: () => input.view && $("[data-error]").replaceChildren(),
});
const table = new ResultTable($("[data-rows]"), {
  opened: (row) => row && openRow(row, job.fields, narrow),
  status: ({ matching, total, cut }) => {
    const some = filters.texts.length ? `${plural(matching, "row")} of ${number(total)}` : plural(total, "row");
    $("[data-matching]").textContent = cut ? `${some}, the first ${number(MOST_ROWS)} in the table` : some;
  },
});
const filters = new Filters($("[data-filter-form]"), $("[data-filters-set]"), (texts) => table.filter(texts));
const fields = new Fields($("[data-fields]"), { add: narrow, toggled: toggleColumn });
const past = pastSearches($("#past"), {
  app,
  used: (entry) => {
    range.set(entry.earliest, entry.latest);
    input.set(entry.search);
    input.focus();
  },
});
const charts = new Charts($("[data-chart]"), { types: $("[data-chart-type]"), note: $("[data-chart-note]"), download: $("[data-chart-spec]") });

const follow = follower({ progress, ended: finish, lost: failed });

/** Start what the editor holds. */
async function run({ replace = false } = {}) {
  const search = input.text.trim();
  if (!search) return input.focus();
  reset();
  show("running");
  prepare();
  const body = { search, app, earliest: range.earliest, latest: range.latest, timezone: ZONE };
  try {
    job = await ask("POST", "/api/searches", { body });
  } catch (problem) {
    address({ search, replace });
    return failed(problem);
  }
  address({ search, job: job.id, replace });
  past.add(body);
  return follow.watch(job.id);
}

function address({ search, job: id = "", replace }) {
  const query = new URLSearchParams({ q: search });
  if (range.earliest) query.set("earliest", range.earliest);
  if (range.latest) query.set("latest", range.latest);
  if (app !== "search") query.set("app", app);
  if (id) query.set("job", id);
  const to = `${location.pathname}?${query}`;
  if (to === location.pathname + location.search) return;
  history[replace || new URLSearchParams(location.search).get("q") === search ? "replaceState" : "pushState"](null, "", to);
  document.title = `${search.slice(0, 60)} · Labdock`;
}

/** Show a job that ended. */
async function finish(now) {
  job = now;
  if (now.status === "failed") return failed(new Problem(0, now.error || {}), now);
  $("[data-summary]").textContent = now.status === "cancelled" ? `Cancelled: ${facts(now)}` : facts(now);
  const said = [...now.messages];
  if (now.status === "cancelled") said.unshift({ level: "warning", text: "The search was cancelled; what it had found is not shown." });
  $("[data-messages]").replaceChildren(...said.map((m) => notice({ message: m.text }, m.level === "warning" ? "warn" : "info")));
  if (now.status === "cancelled") return show("ended");
  show("done");
  page.dataset.kind = now.kind;
  const events = now.kind === "events";
  $("#rows-tab").textContent = events ? "Events" : "Statistics";
  $("[data-timeline]").hidden = !events;
  if (events) timeline($("[data-timeline]"), now, (from, to) => zoom(from, to));
  exportLinks(now);
  columns = await chosen(now);
  if (job !== now) return undefined;
  if (now.rows) {
    table.show(now, named(now, columns));
    fields.show(now, columns);
  } else {
    $("[data-rows]").replaceChildren(nothing(now, () => (range.set("", ""), run())));
    fields.clear();
    $("[data-matching]").textContent = "";
  }
  filters.offer(now.fields);
  if ($("#chart-tab").getAttribute("aria-selected") === "true") charts.show(now);
  return undefined;
}

function failed(problem, now) {
  show("failed");
  refused(problem, now, ({ from, to, text }) => {
    input.set(input.text.slice(0, from) + text + input.text.slice(to));
    run();
  });
  input.underline(problem);
}

function reset() {
  follow.stop();
  filters.clear();
  table.clear();
  charts.clear();
  fields.clear();
  input.underline(null);
  $("[data-error]").replaceChildren();
  $("[data-messages]").replaceChildren();
  $("[data-summary]").textContent = "";
  $("[data-timeline]").replaceChildren();
  $("[data-progress]").removeAttribute("value");
  $("[data-progress-text]").textContent = "Starting…";
}

// -- columns, narrowing

function toggleColumn(name) {
  columns = columns.includes(name) ? columns.filter((c) => c !== name) : [...columns, name];
  keep(job, columns);
  table.show(job, named(job, columns), { keepOrder: true });
}

/** Add `name=value` to the search (or leave it out) and run it. */
function narrow(name, value, not) {
  input.set(narrowed(input.text, name, value, not));
  run();
}

function zoom(from, to) {
  range.set(String(from), String(to));
  run();
}

// -- what is done with a result

function exportLinks(now) {
  for (const link of $$("[data-export]")) link.href = `/api/searches/${now.id}/results?format=${link.dataset.export}`;
}

const current = () => ({ job, search: input.text.trim(), earliest: range.earliest, latest: range.latest, app });
saving({ current });

copying(current);
$("[data-cancel]").addEventListener("click", async () => {
  try {
    if (job) await ask("POST", `/api/searches/${job.id}/cancel`, { body: {} });
  } catch (problem) {
    toast(problem.message, { remedy: problem.remedy, kind: "bad" });
  }
});
$("[data-run]").addEventListener("click", () => run());
page.addEventListener("labdock:tab", (event) => {
  if (event.detail.panel === "chart" && job?.status === "done") charts.show(job);
});

jobList($("#jobs"), { opened: (found) => (load({ q: found.search, earliest: found.earliest, latest: found.latest, job: found.id }), address({ search: found.search, job: found.id })) });

for (const example of $$("[data-example]")) {
  example.addEventListener("click", () => {
    input.set(example.dataset.example);
    run();
  });
}

/** Show what an address holds; run it where nothing in it changes anything. */
async function load({ q = "", earliest = "", latest = "", job: id = "" }, { fresh = false } = {}) {
  reset();
  range.set(earliest, latest);
  input.set(q);
  if (!q) {
    show("start");
    return input.focus();
  }
  if (id) {
    try {
      job = await ask("GET", `/api/searches/${id}`);
      if (job.search.trim() === q.trim()) return job.status === "running" ? follow.watch(id) : finish(job);
    } catch (problem) {
      // Only what is gone (it is kept for an hour) or another's is searched again: a page that is being left, or a
      // controller that restarts, would start what nobody asked for.
      if (![403, 404].includes(problem.status)) return failed(problem);
    }
  }
  if (fresh && CHANGES.test(q)) {
    show("start");
    $("[data-error]").replaceChildren(notice({ message: "This search changes something, so the link alone does not run it.", remedy: "Read it, then press Run." }, "warn"));
    return undefined;
  }
  return run({ replace: true });
}

addEventListener("popstate", () => load(Object.fromEntries(new URLSearchParams(location.search)), { fresh: true }));
addEventListener("pagehide", () => follow.stop());

ask("GET", "/api/search/completion", { query: { app } }).then((catalogue) => input.learn(catalogue), (problem) => toast(problem.message, { kind: "bad" }));
load(Object.fromEntries(new URLSearchParams(location.search)), { fresh: true });
page.dataset.ready = "true";
