// The keyboard: `/` to search, `g e` to go, `?` for the list. Never while one types.
import { open } from "./dialogs.js";
import { nextTheme } from "./theme.js";

let went = -Infinity;

function typing(target) {
  return target.closest?.("input, textarea, select, [contenteditable], .cm-editor") !== null || target.shadowRoot;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || typing(event.target)) return;
  if (document.querySelector("dialog[open]")) return;
  if (performance.now() - went < 1200) {
    went = -Infinity;
    const link = document.querySelector(`[data-go="${CSS.escape(event.key)}"]`);
    if (link) {
      event.preventDefault();
      link.click();
    }
    return;
  }
  const own = document.querySelector(`main [data-key="${CSS.escape(event.key)}"]`);
  if (event.key === "g") went = performance.now();
  else if (event.key === "/") {
    const field = document.querySelector("[data-search], main input[type=search]");
    if (field) field.focus();
    else document.querySelector('[data-go="s"]')?.click();
  } else if (event.key === "?") open("keys");
  else if (event.key === "t") nextTheme();
  else if (own) own.click();
  else return;
  event.preventDefault();
});
