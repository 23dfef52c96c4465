// The rows of a result: as many as there are, of which only those in sight exist in the page. Sorting and filtering are
// the engine's; pages of rows come when they are scrolled to.
import { ask, el, notice, shown } from "./common.js";
import { prepare } from "./tabulator.js";

const PAGE = 200;
const PAGES_KEPT = 60;
export const MOST_ROWS = 200_000; // what a scroll bar can still point at
const LONGEST = 300; // characters of a cell that are drawn; the row's window has them all
const ROW = 30;

/** A table in `place`. `opened(row)` is called for a click or Enter on a row; `status(text)` says how many rows match. */
export class ResultTable {
  constructor(place, { opened, status, picked }) {
    this.place = place;
    this.opened = opened;
    this.status = status;
    this.picked = picked;
    this.table = null;
    this.sort = [];
    this.filters = [];
  }

  /** Show a finished job's rows, with these fields as columns in this order. */
  async show(job, fields, { keepOrder = false } = {}) {
    if (!keepOrder || this.job?.id !== job.id) {
      this.sort = [];
      this.filters = this.job?.id === job.id ? this.filters : [];
    }
    this.job = job;
    this.fields = fields;
    await this.reorder();
  }

  async reorder() {
    this.#forget();
    const { round } = this;
    const [first, Tabulator] = await Promise.all([this.#fetch(0), prepare().catch(() => null)]);
    if (!first || round !== this.round) return;
    if (Tabulator) this.#build(first.matching, Tabulator);
    else this.place.replaceChildren(notice({ message: "The table could not be loaded.", remedy: "Reload the page." }));
  }

  /** `-name` for descending. The engine sorts the whole result. */
  sortBy(name) {
    this.sort = this.sort[0] === `-${name}` ? [name] : this.sort[0] === name ? [] : [`-${name}`];
    return this.reorder();
  }

  filter(filters) {
    this.filters = filters;
    return this.reorder();
  }

  clear() {
    this.table?.destroy();
    this.table = null;
    this.job = null;
    this.#forget();
    this.place.replaceChildren();
  }

  row(at) {
    return this.pages.get(Math.floor(at / PAGE))?.[at % PAGE];
  }

  #forget() {
    this.pages = new Map();
    this.waiting = new Map();
    this.round = (this.round || 0) + 1;
  }

  #fetch(page) {
    if (this.waiting.has(page)) return this.waiting.get(page);
    const { round, job } = this;
    const query = { offset: page * PAGE, count: PAGE, sort: this.sort, filter: this.filters, exact: true };
    const asked = ask("GET", `/api/searches/${job.id}/page`, { query }).then(
      (answer) => {
        if (round !== this.round) return null;
        this.pages.set(page, answer.rows);
        if (this.pages.size > PAGES_KEPT) this.pages.delete(this.pages.keys().next().value);
        this.waiting.delete(page);
        this.#arrived(page);
        return answer;
      },
      (problem) => {
        if (round === this.round) this.place.replaceChildren(notice(problem));
        return null;
      },
    );
    this.waiting.set(page, asked);
    return asked;
  }

  #arrived(page) {
    for (const row of this.table?.getRows("visible") || []) {
      if (Math.floor(row.getData().i / PAGE) === page) row.reformat();
    }
    // Rows that wait just outside of what is seen.
    for (const row of this.table?.rowManager?.activeRows?.slice(page * PAGE, (page + 1) * PAGE) || []) {
      if (row.initialized && row.element?.isConnected) row.reinitialize(true);
    }
  }

  #build(matching, Tabulator) {
    const rows = Math.min(matching, MOST_ROWS);
    this.status({ matching, total: this.job.rows, cut: matching > MOST_ROWS });
    this.table?.destroy();
    this.place.replaceChildren();
    if (!rows) {
      this.place.append(el("p", { class: "none" }, this.filters.length ? "No row passes the filters." : "No rows."));
      this.table = null;
      return;
    }
    const holder = el("div", { class: "result-grid" });
    this.place.append(holder);
    const columns = this.fields.map((field, at) => this.#column(field, at));
    this.table = new Tabulator(holder, {
      data: Array.from({ length: rows }, (_, i) => ({ i })),
      index: "i",
      height: Math.min(Math.max(rows, 3) * ROW + 44, Math.max(window.innerHeight - 340, 320)),
      rowHeight: ROW,
      renderVertical: "virtual",
      renderVerticalBuffer: 180,
      layout: "fitDataFill",
      movableColumns: true,
      columnDefaults: { resizable: true, maxWidth: 640, minWidth: 70, variableHeight: false },
      columns,
    });
    this.table.on("rowClick", (event, row) => this.opened(this.row(row.getData().i)));
    this.table.on("tableBuilt", () => this.#describe(holder, rows));
    holder.addEventListener("keydown", (event) => this.#keys(event));
  }

  #column(field, at) {
    const right = field.type === "number" && field.name !== "_time";
    return {
      title: "",
      field: `c${at}`,
      hozAlign: right ? "right" : "left",
      headerHozAlign: right ? "right" : "left",
      titleFormatter: () => this.#head(field),
      formatter: (cell) => this.#cell(cell.getRow().getData().i, field, cell.getElement()),
    };
  }

  #head(field) {
    const down = this.sort[0] === `-${field.name}`;
    const up = this.sort[0] === field.name;
    const button = el("button", {
      type: "button", class: "sorter", "data-field": field.name, "data-order": down ? "down" : up ? "up" : "",
      title: `Sort by ${field.name}`,
      onclick: (event) => {
        event.stopPropagation();
        this.sortBy(field.name);
      },
    }, el("span", {}, field.name));
    if (down || up) button.append(el("span", { class: "seen-only" }, down ? ", sorted downwards" : ", sorted upwards"));
    return button;
  }

  #cell(at, field, element) {
    const row = this.row(at);
    if (!row) {
      this.#fetch(Math.floor(at / PAGE));
      element.classList.add("pending");
      return document.createTextNode("\u00a0");
    }
    element.classList.remove("pending");
    const text = shown(row[field.name], field.name);
    return document.createTextNode(text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text);
  }

  #describe(holder, rows) {
    holder.setAttribute("aria-label", "Rows of the result");
    holder.setAttribute("aria-rowcount", String(rows));
    // What scrolls is what the keyboard reaches, so it is the group of rows; Tabulator's own is inside of it.
    const body = holder.querySelector(".tabulator-tableholder");
    body?.setAttribute("tabindex", "0");
    body?.setAttribute("role", "rowgroup");
    holder.querySelector(".tabulator-table")?.setAttribute("role", "none");
  }

  /** Enter opens the row at the top of what is seen; the browser scrolls with the arrow keys by itself. */
  #keys(event) {
    if (event.key !== "Enter" || !event.target.classList.contains("tabulator-tableholder")) return;
    const first = this.table.getRows("visible")[0];
    if (first) this.opened(this.row(first.getData().i));
  }
}
