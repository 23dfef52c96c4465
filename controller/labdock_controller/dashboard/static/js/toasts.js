// Short messages in the corner; what went wrong stays until it is closed.
import { element, icon } from "./dom.js";

const SHOWN = 5000;
const KEPT = "labdock-toast";

/** kind: "good", "warn" or "bad". */
export function toast(message, { remedy = "", kind = "good" } = {}) {
  const place = document.querySelector("[data-toasts]");
  // A dialog is above everything, so its messages are inside of it.
  const open = [...document.querySelectorAll("dialog[open]")].at(-1);
  if (open) open.append(place);
  else if (place.parentElement !== document.body) document.body.append(place);
  const close = element("button", { class: "quiet only-icon small", type: "button", "aria-label": "Close" }, icon("m4 4 8 8M12 4l-8 8"));
  const text = element("div", {}, element("p", {}, message), remedy ? element("p", { class: "soft" }, remedy) : "");
  const box = element("div", { class: `toast ${kind}`, role: kind === "bad" ? "alert" : "status" }, text, close);
  close.addEventListener("click", () => box.remove());
  place.append(box);
  while (place.children.length > 4) place.firstElementChild.remove();
  if (kind !== "bad") setTimeout(() => box.remove(), SHOWN);
  return box;
}

/** The same on the page that an action leads to, or on this one after its reload. */
export function toastThere(message) {
  sessionStorage.setItem(KEPT, message);
}

/** A Problem (or any error) as a message. */
export function failed(problem) {
  if (problem.name === "AbortError") return;
  toast(problem.message, { remedy: problem.remedy, kind: "bad" });
}

const kept = sessionStorage.getItem(KEPT);
sessionStorage.removeItem(KEPT);
if (kept) toast(kept);
