// `<time datetime data-time>` in the user's zone and language: relative, date, clock; since and until count.
import { setText } from "./dom.js";
import { on } from "./events.js";
import { duration } from "./words.js";

const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
const DATE = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "2-digit", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const RELATIVE = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "long" });
const STEPS = [["year", 31557600], ["month", 2629800], ["week", 604800], ["day", 86400], ["hour", 3600], ["minute", 60]];

export function relative(moment, now = Date.now()) {
  const seconds = (moment - now) / 1000;
  if (Math.abs(seconds) < 45) return seconds > 0 ? "in a moment" : "just now";
  const [unit, length] = STEPS.find(([, size]) => Math.abs(seconds) >= size * 0.95) || ["minute", 60];
  return RELATIVE.format(Math.round(seconds / length), unit);
}

export function shown(moment, form, now = Date.now()) {
  if (form === "date") return DATE.format(moment);
  if (form === "clock") return CLOCK.format(moment);
  if (form === "since") return duration(Math.max(0, (now - moment) / 1000 < 10 ? Math.floor((now - moment) / 1000) : (now - moment) / 1000)).replace(/\.0(?=\D)/, "").replace("0\u202fms", "0\u202fs");
  if (form === "until") return moment <= now ? "now" : duration(Math.max(10, (moment - now) / 1000));
  return relative(moment, now);
}

export function write(root = document) {
  const now = Date.now();
  for (const node of root.querySelectorAll("time[data-time]")) {
    const moment = Date.parse(node.dateTime);
    if (Number.isNaN(moment)) continue;
    setText(node, shown(moment, node.dataset.time, now));
    if (!node.title) node.title = FULL.format(moment);
  }
}

write();
on("changed", () => write());
setInterval(() => document.hidden || write(), 1000);
document.addEventListener("visibilitychange", () => document.hidden || write());
