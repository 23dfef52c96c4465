// Events over time, above their rows. Dragging over it narrows the time.
import { on } from "../events.js";
import { ask, el, number, plural, seconds } from "./common.js";

let uPlot = null; // fetched with the first events
let plot = null;
let last = null;

/** Draw the job's events over time in `place`; `zoomed(from, to)` is told a range in epoch seconds. */
export async function timeline(place, job, zoomed) {
  place.replaceChildren();
  let found;
  try {
    const buckets = Math.min(200, Math.max(40, Math.floor(place.clientWidth / 8)));
    [found, { default: uPlot }] = await Promise.all([
      ask("GET", `/api/searches/${job.id}/timeline`, { query: { buckets } }),
      import("../../vendor/uplot.js"),
    ]);
  } catch {
    return; // the rows say what is wrong
  }
  if (!place.isConnected || found.buckets.length < 2) {
    place.hidden = true;
    return;
  }
  last = { place, found, zoomed };
  draw();
}

function draw() {
  const { place, found, zoomed } = last;
  plot?.destroy();
  place.replaceChildren();
  const style = getComputedStyle(place);
  const colour = style.getPropertyValue("--drawn") || style.color;
  const canvas = el("div", { role: "img", "aria-label": `${plural(found.buckets.reduce((sum, [, count]) => sum + count, 0), "event")} over time` });
  place.append(canvas);
  const data = [found.buckets.map(([start]) => start + found.span / 2), found.buckets.map(([, count]) => count)];
  plot = new uPlot({
    width: place.clientWidth, height: 84, padding: [6, 8, 0, 0], legend: { show: false },
    cursor: { y: false, drag: { x: true, y: false, setScale: false } },
    axes: [{ stroke: colour, grid: { show: false }, ticks: { show: false }, size: 22, font: "11px sans-serif" },
      { stroke: colour, grid: { stroke: colour, width: 0.15 }, ticks: { show: false }, size: 46, font: "11px sans-serif", values: (_, all) => all.map((v) => (Number.isInteger(v) ? number(v) : "")) }],
    scales: { y: { range: (_, low, high) => [0, Math.max(high, 1)] } },
    series: [{}, { fill: fillOf(place), paths: uPlot.paths.bars({ size: [0.86, 40] }), points: { show: false }, width: 0 }],
    hooks: {
      setSelect: [(u) => {
        if (u.select.width < 4) return;
        const from = Math.floor(u.posToVal(u.select.left, "x"));
        const to = Math.ceil(u.posToVal(u.select.left + u.select.width, "x"));
        zoomed(from, to);
      }],
    },
  }, data, canvas);
  place.append(el("p", { class: "hint" }, `Each bar is ${seconds(found.span)}. Drag over bars to narrow the time.`));
}

function fillOf(place) {
  const probe = place.appendChild(el("span", { class: "probe accent" }));
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}

addEventListener("resize", () => plot && last?.place.isConnected && plot.setSize({ width: last.place.clientWidth, height: 84 }));
on("theme", () => last?.place.isConnected && !last.place.hidden && requestAnimationFrame(draw));
