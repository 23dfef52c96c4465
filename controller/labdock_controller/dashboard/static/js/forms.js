// Forms and buttons that call the API: `data-api="POST /api/environments"`. docs/dashboard.md lists the attributes.
import { api } from "./api.js";
import { toast, toastThere, failed } from "./toasts.js";
import { leaving, refresh } from "./refresh.js";

document.addEventListener("submit", (event) => {
  const form = event.target.closest("form[data-api]");
  if (!form) return;
  event.preventDefault();
  call(form, form.querySelector("[data-submit]") || event.submitter, bodyOf(form));
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-api]");
  if (!button) return;
  event.preventDefault();
  button.closest("details[data-menu]")?.removeAttribute("open");
  call(button, button, button.dataset.body ? JSON.parse(button.dataset.body) : undefined);
});

async function call(source, button, body) {
  if (source.hasAttribute("data-busy")) return;
  const [method, template] = source.dataset.api.split(" ");
  // `{name}` in the address is a field of the form.
  const path = template.replace(/\{([\w.]+)\}/g, (_, name) => encodeURIComponent(valueAt(body, name)));
  show(source, null);
  source.setAttribute("data-busy", "");
  button?.setAttribute("aria-busy", "true");
  const goes = /^(go:|reload$)/.test(source.dataset.then);
  const send = () => api(method, path, method === "GET" || method === "DELETE" ? undefined : body);
  try {
    const result = await (goes ? leaving(send) : send());
    source.dispatchEvent(new CustomEvent("labdock:done", { bubbles: true, detail: { result, body } }));
    if (source.dataset.says) (goes ? toastThere : toast)(filled(source.dataset.says, result, body));
    after(source, result, body);
  } catch (problem) {
    if (problem.status !== 401) show(source, problem);
  } finally {
    source.removeAttribute("data-busy");
    button?.removeAttribute("aria-busy");
  }
}

/** `data-then`: "reload", "refresh", "close", "go:/environments/{name}"; a dialog around it is closed. */
function after(source, result, body) {
  const then = source.dataset.then || "close";
  if (then.startsWith("go:")) return location.assign(filled(then.slice(3), result, body, encodeURIComponent));
  if (then === "reload") return location.reload();
  source.closest("dialog")?.close();
  if (source instanceof HTMLFormElement && then !== "keep") source.reset();
  if (then !== "stay") refresh();
}

function show(source, problem) {
  const place = source.querySelector?.("[data-problem]");
  source.querySelectorAll?.("[aria-invalid]").forEach((field) => field.removeAttribute("aria-invalid"));
  if (!place) return problem ? failed(problem) : undefined;
  place.replaceChildren();
  place.hidden = !problem;
  if (!problem) return undefined;
  place.setAttribute("role", "alert");
  for (const [text, kind] of [[problem.message, ""], [problem.remedy, "remedy"]]) {
    if (!text) continue;
    const line = document.createElement("p");
    line.textContent = text;
    line.className = kind;
    place.append(line);
  }
  for (const { field } of problem.details.fields || []) {
    source.elements?.namedItem(field)?.setAttribute?.("aria-invalid", "true");
  }
  place.scrollIntoView({ block: "nearest" });
  return undefined;
}

/** The form's fields as an object: `limits.cpus` nests, numbers are numbers, what is empty is left out. */
export function bodyOf(form) {
  const body = {};
  for (const field of form.elements) {
    if (!field.name || field.disabled || field.type === "file" || (field.type === "radio" && !field.checked)) continue;
    let value = field.value;
    if (field.type === "checkbox") {
      value = field.dataset.list === undefined ? field.checked : field.checked ? [...(valueAt(body, field.name) || []), field.value] : valueAt(body, field.name) || [];
    } else if (field.multiple) value = [...field.selectedOptions].map((option) => option.value);
    else if (field.dataset.list !== undefined) value = value.split(/[\s,]+/).filter(Boolean);
    else if (value === "" && field.dataset.empty === undefined) continue;
    else if (field.type === "number" || field.dataset.type === "number") value = Number(value);
    put(body, field.name, value);
  }
  return body;
}

function put(body, name, value) {
  const parts = name.split(".");
  const last = parts.pop();
  let place = body;
  for (const part of parts) place = place[part] ??= {};
  place[last] = value;
}

function valueAt(body, name) {
  return name.split(".").reduce((found, part) => found?.[part], body);
}

function filled(text, result, body, encode = String) {
  return text.replace(/\{([\w.]+)\}/g, (_, name) => encode(valueAt(result, name) ?? valueAt(body, name) ?? ""));
}
