// `data-opens="<id>"` opens a dialog, `data-closes` closes the one around it; `form[data-typed]` asks for a name.
import { setText } from "./dom.js";

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-opens]");
  if (opener) {
    opener.closest("details[data-menu]")?.removeAttribute("open");
    open(opener.dataset.opens, opener.dataset);
    return;
  }
  if (event.target.closest("[data-closes]")) event.target.closest("dialog")?.close();
  else if (event.target instanceof HTMLDialogElement && outside(event)) event.target.close();
});

/** Open the dialog with this id. `data-set-<field>="value"` of its opener fills fields; `data-typed` says which name its
 * form asks for, where it does not ask for the same one each time. */
export function open(id, given = {}) {
  const dialog = document.getElementById(id);
  if (!dialog || dialog.open) return;
  for (const [key, value] of Object.entries(given)) {
    if (!key.startsWith("set")) continue;
    const name = key.slice(3).toLowerCase();
    const field = [...dialog.querySelectorAll("[name]")].find((f) => f.name.toLowerCase() === name && (f.type !== "radio" || f.value === value));
    if (field?.type === "radio") field.checked = true;
    else if (field) field.value = value;
  }
  const problem = dialog.querySelector("[data-problem]");
  if (problem) problem.hidden = true;
  for (const form of dialog.querySelectorAll("form[data-typed]")) {
    if (given.typed !== undefined) ask(form, given.typed);
    judge(form);
  }
  dialog.showModal();
  const first = dialog.querySelector("[autofocus], .body input:not([type=hidden]):not([type=radio]), .body select, .body textarea");
  first?.focus();
  dialog.dispatchEvent(new CustomEvent("labdock:opened", { bubbles: true }));
}

function outside(event) {
  const box = event.target.getBoundingClientRect();
  return event.clientX < box.left || event.clientX > box.right || event.clientY < box.top || event.clientY > box.bottom;
}

document.addEventListener("input", (event) => {
  const form = event.target.closest("form[data-typed]");
  if (form) judge(form);
});

function ask(form, typed) {
  form.dataset.typed = form.elements.name.value = typed;
  setText(form.querySelector("[data-typed-text]"), typed);
}

function judge(form) {
  const typed = form.querySelector("[data-typed-name]").value;
  form.querySelector("[data-submit]").disabled = typed !== form.dataset.typed;
}

document.addEventListener("close", (event) => {
  if (!(event.target instanceof HTMLDialogElement)) return;
  const toasts = event.target.querySelector("[data-toasts]");
  if (toasts) document.body.append(toasts);
  event.target.querySelectorAll("form").forEach((form) => form.hasAttribute("data-typed") && form.reset());
}, true);
