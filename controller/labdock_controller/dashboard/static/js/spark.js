// Small curves of a measurement, one uPlot each, drawn anew when the theme changes.
import uPlot from "../vendor/uplot.js";
import { on } from "./events.js";

const drawn = new Map();

/** Draw `points` ([time, value]) in `place`; `limit` is the top of the scale where there is one. */
export function spark(place, points, limit, colour = "--chart-1") {
  const data = [points.map((p) => p[0]), points.map((p) => p[1])];
  const known = drawn.get(place);
  if (known && known.plot.root.isConnected) {
    known.limit = limit;
    known.plot.setData(data);
    return;
  }
  const kept = { limit, plot: null, place, colour };
  kept.plot = new uPlot(options(place, kept), data, place);
  drawn.set(place, kept);
}

function options(place, kept) {
  const tone = getComputedStyle(place);
  const probe = document.createElement("span");
  probe.style.color = `var(${kept.colour})`;
  place.append(probe);
  const stroke = getComputedStyle(probe).color;
  probe.remove();
  return {
    width: parseInt(tone.width, 10) || 80,
    height: parseInt(tone.height, 10) || 22,
    pxAlign: false, cursor: { show: false }, legend: { show: false }, select: { show: false },
    axes: [{ show: false }, { show: false }],
    padding: [2, 1, 2, 1],
    scales: { x: { time: false }, y: { range: (_, low, high) => [0, kept.limit || Math.max(high || 0, 0.001) * 1.25] } },
    series: [{}, { stroke, width: 1.5, fill: stroke.replace("rgb(", "rgba(").replace(")", ", 0.13)"), points: { show: false } }],
  };
}

on("theme", () => {
  for (const [place, kept] of drawn) {
    const { data } = kept.plot;
    kept.plot.destroy();
    if (!place.isConnected) drawn.delete(place);
    else kept.plot = new uPlot(options(place, kept), data, place);
  }
});
