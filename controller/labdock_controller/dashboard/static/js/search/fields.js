// The fields beside the rows: how many values each has, which are the most frequent; a click adds one to the search.
import { $, ask, el, moment, notice, number, plural, shown } from "./common.js";

/** The sidebar in `place`. `add(name, value, not)` narrows the search; `toggled(name)` shows or hides a column. */
export class Fields {
  constructor(place, { add, toggled }) {
    this.place = place;
    this.add = add;
    this.toggled = toggled;
  }

  clear() {
    this.place.replaceChildren();
    this.job = null;
  }

  async show(job, columns) {
    this.job = job;
    this.columns = columns;
    const names = job.fields.map((f) => f.name).filter((name) => name !== "_raw");
    this.#draw(names.map((name) => ({ name })));
    if (!job.rows) return;
    try {
      const found = await ask("GET", `/api/searches/${job.id}/summary`);
      if (this.job === job) this.#tell(found.fields, found.rows);
    } catch (problem) {
      this.place.append(notice(problem));
    }
  }

  #draw(fields) {
    const chosen = new Set(this.columns);
    const list = el("ul", { class: "fields-list" });
    for (const field of fields) list.append(this.#entry(field, chosen.has(field.name)));
    const filter = el("input", {
      type: "search", placeholder: plural(fields.length, "field"), "aria-label": "Find a field", autocomplete: "off",
      oninput: (event) => {
        const wanted = event.target.value.toLowerCase();
        for (const item of list.children) item.hidden = !item.dataset.name.toLowerCase().includes(wanted);
      },
    });
    this.place.replaceChildren(el("h2", {}, "Fields"), el("span", { class: "control" }, filter), list);
  }

  /** What the engine counted, written into the entries that are there: what is open stays open. */
  #tell(fields, rows) {
    for (const item of this.place.querySelectorAll(".fields-list > li")) {
      const field = fields.find((f) => f.name === item.dataset.name);
      if (!field) continue;
      $(".share", item).textContent = field.count === rows ? "" : `${Math.floor((100 * field.count) / rows)} %`;
      $(".distinct", item).textContent = number(field.distinct);
    }
  }

  #entry(field, chosen) {
    const body = el("div", { class: "field-facts", "data-facts": true });
    const details = el("details", { class: "field-entry" },
      el("summary", {},
        el("span", { class: "name", title: field.name }, field.name),
        el("span", { class: "share number" }),
        el("span", { class: "distinct number", title: "distinct values" }),
      ),
      body,
    );
    details.addEventListener("toggle", () => details.open && !body.childElementCount && this.#facts(field.name, body));
    const box = el("input", {
      type: "checkbox", checked: chosen, "aria-label": `Show the column ${field.name}`, onchange: () => this.toggled(field.name),
    });
    return el("li", { "data-name": field.name }, box, details);
  }

  async #facts(name, place) {
    place.replaceChildren(el("p", { class: "hint" }, "Counting…"));
    try {
      const answer = await ask("GET", `/api/searches/${this.job.id}/summary`, { query: { field: name, top: 10 } });
      const field = answer.fields[0];
      const lines = [];
      if (field.min !== null) lines.push(["least", shown(field.min, name)], ["greatest", shown(field.max, name)]);
      if (field.mean !== null && name !== "_time") lines.push(["mean", number(field.mean)]);
      if (field.nulls) lines.push(["without", number(field.nulls)]);
      const facts = el("dl", { class: "pairs" });
      for (const [label, value] of lines) facts.append(el("div", {}, el("dt", {}, label), el("dd", {}, value)));
      const most = Math.max(1, ...field.top.map((t) => t.count));
      const top = el("ol", { class: "top" });
      for (const each of field.top) top.append(this.#value(name, each, most, answer.rows));
      place.replaceChildren(facts, top);
    } catch (problem) {
      place.replaceChildren(notice(problem));
    }
  }

  #value(name, { value, count }, most, rows) {
    const words = name === "_time" ? moment(value) : shown(value) || "(empty)";
    const share = `${((100 * count) / rows).toFixed(count === rows ? 0 : 1)} %`;
    const bar = el("meter", { min: 0, max: most, value: count, "aria-hidden": "true", tabindex: -1 });
    return el("li", {},
      el("button", { type: "button", class: "value", title: `Add ${name}=${words} to the search`, onclick: () => this.add(name, value, false) },
        el("span", { class: "word" }, words), el("span", { class: "number" }, number(count)), el("span", { class: "number faint" }, share), bar),
      el("button", { type: "button", class: "quiet only-icon small", "aria-label": `Leave out ${name}=${words}`, title: "Leave it out", onclick: () => this.add(name, value, true) }, "≠"),
    );
  }
}
