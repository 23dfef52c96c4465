// What the pages for searches, data and alerts share: requests, elements made of text, figures and times.

import { Problem, api } from "../api.js";
import { copy as toClipboard } from "../copy.js";
import { open } from "../dialogs.js";
import { icon as drawn } from "../dom.js";
import { toast } from "../toasts.js";
import { duration, number as counted, plural, size } from "../words.js";

export { Problem, plural, size, toast };
export const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
export const seconds = duration;

/** Ask the API; `query` may hold lists, what is empty is left out. Throws `Problem`. */
export function ask(method, path, { body, query, signal } = {}) {
  const address = query ? `${path}?${new URLSearchParams([...entries(query)])}` : path;
  return api(method, address, body, { signal });
}

function* entries(query) {
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== null && one !== "") yield [name, String(one)];
    }
  }
}

/** An element: `el("p", {class: "hint", onclick: f}, "text", child)`. Strings become text, never markup. */
export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, String(value));
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

const ICONS = {
  warning: "M8 2 14.5 13.5h-13zM8 6.5v3M8 11.5h.01",
  info: "M8 14.25a6.25 6.25 0 1 0 0-12.5 6.25 6.25 0 0 0 0 12.5zM8 7.25v4M8 4.75h.01",
  close: "m4 4 8 8M12 4l-8 8",
};
export const icon = (name) => drawn(ICONS[name]);

export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

export function number(value) {
  return typeof value === "number" && (Math.abs(value) >= 1e15 || !Number.isFinite(value)) ? String(value) : typeof value === "string" ? value : counted(value);
}

/** A moment in the user's zone, sortable by eye; milliseconds only where there are some. */
export function moment(epoch) {
  const date = new Date(epoch * 1000);
  if (Number.isNaN(date.getTime())) return String(epoch);
  const two = (part) => String(part).padStart(2, "0");
  const rest = Math.round((epoch % 1) * 1000);
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const clock = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return `${day} ${clock}${rest > 0 && rest < 1000 ? `.${String(rest).padStart(3, "0")}` : ""}`;
}

/** The cell's text; several values one beside the other. */
export function shown(value, name = "") {
  if (value === null || value === undefined) return "";
  if (name === "_time" && typeof value === "number") return moment(value);
  if (Array.isArray(value)) return value.map((one) => shown(one)).join(" · ");
  if (typeof value === "number") return number(value);
  return String(value);
}

/** What went wrong, for a place in the page. */
export function notice(problem, kind = "bad") {
  const words = el("div", {}, el("p", {}, problem.message));
  if (problem.remedy) words.append(el("p", { class: "remedy" }, problem.remedy));
  return el("div", { class: `notice ${kind}`, ...(kind === "bad" ? { role: "alert" } : {}) }, icon(kind === "info" ? "info" : "warning"), words);
}

/** Open `dialog` for one use: `send` gets its form's values; what it throws is shown inside, else the dialog closes. */
export function form(dialog, send, { before } = {}) {
  const made = $("form", dialog);
  const problem = $("[data-problem]", dialog);
  const button = $("[data-submit]", dialog);
  problem.hidden = true;
  before?.(made);
  made.onsubmit = async (event) => {
    event.preventDefault();
    button.setAttribute("aria-busy", "true");
    problem.hidden = true;
    try {
      await send(Object.fromEntries(new FormData(made)), made);
      dialog.close();
    } catch (error) {
      problem.replaceChildren(notice(error));
      problem.hidden = false;
    } finally {
      button.removeAttribute("aria-busy");
    }
  };
  open(dialog.id);
}

export async function copy(text) {
  try {
    await toClipboard(text);
    toast("Copied.");
  } catch {
    toast("The browser refused to copy.", { remedy: "Select the text and copy it by hand.", kind: "bad" });
  }
}

/** A text as one word of a shell. */
export const quoted = (text) => `'${text.replaceAll("'", `'"'"'`)}'`;
