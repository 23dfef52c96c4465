// The chart of a result: its specification comes from the controller, Vega draws it without eval.
import { on } from "../events.js";
import { ask, el, notice } from "./common.js";

const NAMES = {
  line: "Lines", area: "Areas", column: "Columns", bar: "Bars", pie: "Shares", heatmap: "Heat map", scatter: "Points",
  histogram: "Distribution", counts: "Counts", single: "Single value", timeline: "Events over time",
};

/** The page's colours, for Vega: read where the stylesheet has them. */
export function colours() {
  // `light-dark()` is resolved where a colour is used, not in the token.
  const probe = document.body.appendChild(el("span", { hidden: true, class: "probe" }));
  const of = (name) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };
  const [ink, soft, line] = [of("--ink"), of("--soft"), of("--line")];
  const dark = matchMedia("(prefers-color-scheme: dark)").matches ? document.documentElement.dataset.theme !== "light" : document.documentElement.dataset.theme === "dark";
  const category = dark
    ? ["#5fd0c5", "#f0a63c", "#b3a4f5", "#82b8f2", "#ff958a", "#6fcf97", "#e6c84f", "#e79ad0", "#9fb4b3", "#c98f6b"]
    : ["#0b6b6f", "#b4610c", "#5b4aa8", "#1f5fa8", "#a9281f", "#1d6b3f", "#857000", "#a0387f", "#5b6b6d", "#7a4a2b"];
  probe.remove();
  return {
    background: "transparent",
    font: getComputedStyle(document.body).fontFamily,
    view: { stroke: null },
    axis: { labelColor: soft, titleColor: soft, gridColor: line, domainColor: line, tickColor: line, labelFontSize: 12, titleFontSize: 12, titleFontWeight: 500 },
    legend: { labelColor: ink, titleColor: soft, labelFontSize: 12, titleFontSize: 12, titleFontWeight: 500, labelLimit: 240 },
    title: { color: ink, fontWeight: 500 },
    text: { fill: ink },
    range: { category, heatmap: { scheme: dark ? "darkgreen" : "tealblues" }, ramp: { scheme: dark ? "darkgreen" : "tealblues" } },
    mark: { color: category[0] },
  };
}

export class Charts {
  constructor(place, { types, note, download }) {
    this.place = place;
    this.types = types;
    this.note = note;
    this.download = download;
    this.shown = null;
    types.addEventListener("change", () => this.draw(types.value));
    on("theme", () => this.shown && this.draw(this.types.value));
  }

  clear() {
    this.view?.finalize();
    this.view = null;
    this.shown = null;
    this.job = null;
    this.place.replaceChildren();
  }

  async draw(type = "auto") {
    const { job } = this;
    if (!this.shown) this.place.replaceChildren(el("p", { class: "loading", role: "status" }, el("span", { class: "spinner", "aria-hidden": "true" }), "Drawing…"));
    try {
      const [answer, { chart }] = await Promise.all([
        ask("GET", `/api/searches/${job.id}/chart`, { query: { type } }),
        import("../../vendor/vega.js"),
      ]);
      if (this.job !== job) return;
      this.types.replaceChildren(...answer.types.map((name) => el("option", { value: name, selected: name === answer.type }, NAMES[name] || name)));
      this.types.disabled = answer.types.length < 2;
      this.note.textContent = answer.note;
      this.download.href = URL.createObjectURL(new Blob([JSON.stringify(answer.spec, null, 1)], { type: "application/json" }));
      this.download.download = `chart-${job.id}.vl.json`;
      this.download.hidden = false;
      const canvas = el("div", { class: "canvas" });
      this.view?.finalize();
      this.place.replaceChildren(canvas);
      const made = await chart(canvas, answer.spec, { config: colours() });
      this.view = made.view;
      this.shown = answer;
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${NAMES[answer.type] || answer.type} of the result. The table holds the same figures.`);
    } catch (problem) {
      if (this.job !== job) return;
      this.note.textContent = "";
      this.download.hidden = true;
      this.types.disabled = true;
      this.place.replaceChildren(notice(problem, problem.code === "not-found" ? "info" : "bad"));
    }
  }

  async show(job) {
    if (this.job === job) return;
    this.clear();
    this.job = job;
    await this.draw();
  }
}
