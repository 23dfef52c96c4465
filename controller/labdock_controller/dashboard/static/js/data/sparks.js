// Events of an index over time, as small bars; larger ones with axes on the index's own page.
import uPlot from "../../vendor/uplot.js";
import { on } from "../events.js";
import { $$, ask, el, number, plural } from "../search/common.js";

const drawn = new Map();

/** Draw every `[data-spark]`; with `again` those that are there already, too. */
export function sparks({ again = false } = {}) {
  for (const place of $$("[data-spark]")) {
    if (drawn.has(place) && !again) continue;
    drawn.set(place, null);
    fill(place);
  }
}

async function fill(place) {
  try {
    const found = await ask("GET", `/api/indexes/${encodeURIComponent(place.dataset.spark)}/counts`, { query: { buckets: place.hasAttribute("data-large") ? 120 : 48 } });
    if (found.buckets.length) draw(place, found);
    else place.replaceChildren(el("span", { class: "faint small" }, "no events"));
  } catch (problem) {
    place.replaceChildren(el("span", { class: "faint small" }, problem.message));
  }
}

function draw(place, found) {
  drawn.get(place)?.plot.destroy();
  const large = place.hasAttribute("data-large");
  const canvas = el("div", { role: "img", "aria-label": `${plural(found.buckets.reduce((sum, [, count]) => sum + count, 0), "event")} over time` });
  place.replaceChildren(canvas);
  const probe = place.appendChild(el("span", { class: "probe accent" }));
  const fill = getComputedStyle(probe).color;
  probe.remove();
  const stroke = getComputedStyle(place).color;
  const axes = large
    ? [{ stroke, grid: { show: false }, ticks: { show: false }, size: 24, font: "11px sans-serif" }, { stroke, grid: { stroke, width: 0.15 }, ticks: { show: false }, size: 50, font: "11px sans-serif", values: (_, all) => all.map((v) => (Number.isInteger(v) ? number(v) : "")) }]
    : [{ show: false }, { show: false }];
  const plot = new uPlot({
    width: place.clientWidth || 150, height: large ? 130 : 28, padding: large ? [8, 8, 0, 0] : [2, 0, 0, 0],
    legend: { show: false }, cursor: { show: false }, select: { show: false }, axes,
    scales: { y: { range: (_, low, high) => [0, Math.max(high, 1)] } },
    series: [{}, { fill, width: 0, points: { show: false }, paths: uPlot.paths.bars({ size: [0.85, 30] }) }],
  }, [found.buckets.map(([start]) => start + found.span / 2), found.buckets.map(([, count]) => count)], canvas);
  drawn.set(place, { plot, found });
}

on("theme", () => requestAnimationFrame(() => drawn.forEach((kept, place) => kept && place.isConnected && draw(place, kept.found))));
on("changed", () => sparks());
addEventListener("resize", () => drawn.forEach((kept, place) => kept && place.isConnected && kept.plot.setSize({ width: place.clientWidth, height: kept.plot.height })));
