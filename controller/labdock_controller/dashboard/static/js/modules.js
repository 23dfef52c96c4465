// The modules' page: another environment, and a look at the jobs every few seconds while one is under way.
import { on } from "./events.js";
import { htmx } from "./htmx.js";

const EVERY = 2000;
let timer = 0;

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-environment]")) location.assign(`/modules/${encodeURIComponent(event.target.value)}`);
});
document.addEventListener("submit", (event) => event.target.matches("[data-goes]") && event.preventDefault());

function soon() {
  clearTimeout(timer);
  timer = setTimeout(look, EVERY);
}

async function look() {
  const part = document.querySelector("[data-jobs]");
  if (!part) return;
  // A hidden page asks for nothing; neither does one on which nothing runs, but for new ones now and then.
  const swap = { target: "#jobs", swap: "morph:outerHTML", select: "#jobs" };
  if (!document.hidden) await htmx().then((by) => by.ajax("GET", part.dataset.jobs, swap)).catch(() => {});
  soon();
}

on("changed", soon);
soon();
