// The time range: presets, relative, absolute; written as the language does, shown in the user's zone.
import { $, $$, ZONE, el } from "./common.js";

export const PRESETS = [
  ["", "", "All time"],
  ["-15m", "now", "Last 15 minutes"],
  ["-60m", "now", "Last 60 minutes"],
  ["-4h", "now", "Last 4 hours"],
  ["-24h", "now", "Last 24 hours"],
  ["-7d", "now", "Last 7 days"],
  ["-30d", "now", "Last 30 days"],
  ["@d", "now", "Today"],
  ["-1d@d", "@d", "Yesterday"],
  ["@w", "now", "This week"],
  ["@mon", "now", "This month"],
];
const UNITS = { s: "seconds", m: "minutes", h: "hours", d: "days", w: "weeks", mon: "months" };

/** A range in words. */
export function named(earliest, latest) {
  const preset = PRESETS.find(([from, to]) => from === earliest && (to === latest || (to === "now" && latest === "")));
  if (preset) return preset[2];
  const relative = /^-(\d+)(mon|[smhdw])(@\w+)?$/.exec(earliest);
  if (relative && ["", "now"].includes(latest)) return `Last ${relative[1]} ${UNITS[relative[2]]}`;
  const short = (text, otherwise) => (text ? text.replace("T", " ").replace(/:00$/, "") : otherwise);
  return `${short(earliest, "the beginning")} – ${short(latest, "now")}`;
}

/** The picker behind `button`. `chosen()` is called after a choice. */
export function timeRange(button, panel, chosen) {
  const range = { earliest: "", latest: "" };
  const show = () => {
    $("span", button).textContent = named(range.earliest, range.latest);
    for (const item of $$("[data-preset]", panel)) {
      const mine = item.dataset.earliest === range.earliest && item.dataset.latest === range.latest;
      item.setAttribute("aria-current", mine ? "true" : "false");
    }
  };
  const close = () => {
    panel.hidden = true;
    button.setAttribute("aria-expanded", "false");
  };
  const choose = (earliest, latest) => {
    Object.assign(range, { earliest, latest });
    show();
    close();
    button.focus();
    chosen();
  };
  const presets = $("[data-presets]", panel);
  for (const [earliest, latest, label] of PRESETS) {
    presets.append(el("button", {
      type: "button", class: "quiet", "data-preset": true, "data-earliest": earliest, "data-latest": latest,
      onclick: () => choose(earliest, latest),
    }, label));
  }
  $("[data-zone]", panel).textContent = ZONE;
  $("[data-relative]", panel).addEventListener("submit", (event) => {
    event.preventDefault();
    const given = new FormData(event.target);
    choose(`-${Math.max(1, Math.round(Number(given.get("amount"))))}${given.get("unit")}`, "now");
  });
  $("[data-absolute]", panel).addEventListener("submit", (event) => {
    event.preventDefault();
    const given = new FormData(event.target);
    const written = (name) => (given.get(name) ? String(given.get(name)).padEnd(19, ":00") : "");
    choose(written("from"), written("to"));
  });
  button.addEventListener("click", () => {
    panel.hidden = !panel.hidden;
    button.setAttribute("aria-expanded", String(!panel.hidden));
    if (!panel.hidden) $("button, input", panel)?.focus();
  });
  document.addEventListener("click", (event) => {
    if (!panel.hidden && !panel.contains(event.target) && !button.contains(event.target)) close();
  });
  panel.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      close();
      button.focus();
    }
  });
  return {
    get earliest() {
      return range.earliest;
    },
    get latest() {
      return range.latest;
    },
    set(earliest, latest) {
      Object.assign(range, { earliest: earliest || "", latest: latest || "" });
      show();
    },
  };
}
