// `input[data-filters="<id>"]` hides the rows of that table (or items of that list) that lack the words typed.
// `form[data-narrows]` has the controller do it, for a list of many pages.
import { on } from "./events.js";
import { refresh } from "./refresh.js";

const PAUSE = 200;
let typing = 0;

function apply(input) {
  const target = document.getElementById(input.dataset.filters);
  if (!target) return;
  const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
  let left = 0;
  const rows = target.querySelectorAll("tbody tr, [data-item]");
  for (const row of rows) {
    const text = (row.dataset.words || row.textContent).toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
    if (!row.hidden) left += 1;
  }
  const none = document.querySelector(`[data-none="${CSS.escape(target.id)}"]`);
  if (none) none.hidden = left > 0 || rows.length === 0;
}

document.addEventListener("input", (event) => event.target.matches?.("[data-filters]") && apply(event.target));
on("changed", () => document.querySelectorAll("[data-filters]").forEach(apply));

function narrow(form) {
  const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
  history.replaceState(null, "", `${location.pathname}${query.size ? `?${query}` : ""}`);
  refresh();
}

document.addEventListener("input", (event) => {
  const form = event.target.closest?.("form[data-narrows]");
  if (!form) return;
  clearTimeout(typing);
  typing = setTimeout(narrow, PAUSE, form);
});
document.addEventListener("submit", (event) => event.target.matches("form[data-narrows]") && event.preventDefault());
