// `input[data-filters="<id>"]` hides the rows of that table (or items of that list) that lack the words typed.
import { on } from "./events.js";

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
