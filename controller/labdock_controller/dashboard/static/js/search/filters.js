// Filters over a result's rows: each a button that takes it away again. The engine filters.
import { el } from "./common.js";

export class Filters {
  /** `form` adds one, `place` shows them; `changed(texts)` is told after each change. */
  constructor(form, place, changed) {
    this.form = form;
    this.place = place;
    this.changed = changed;
    this.texts = [];
    form.addEventListener("submit", (event) => this.#add(event));
  }

  /** The fields that may be filtered by. */
  offer(fields) {
    this.form.elements.field.replaceChildren(...fields.map((f) => el("option", { value: f.name }, f.name)));
    this.#draw();
  }

  clear() {
    this.texts = [];
  }

  #add(event) {
    event.preventDefault();
    const given = new FormData(this.form);
    if (!String(given.get("value")).length) return;
    this.#set([...this.texts, `${given.get("field")} ${given.get("operator")} ${given.get("value")}`]);
    this.form.elements.value.value = "";
  }

  #set(texts) {
    this.texts = texts;
    this.#draw();
    this.changed(texts);
  }

  #draw() {
    this.place.replaceChildren(...this.texts.map((text, at) => el("button", {
      type: "button", class: "tag filter-set", title: "Remove this filter",
      onclick: () => this.#set(this.texts.filter((_, other) => other !== at)),
    }, `${text} ×`)));
  }
}
