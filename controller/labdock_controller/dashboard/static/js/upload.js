// The dialog that uploads an ONNX model: the file is checked as soon as it is chosen, and what it says fills the form.
import { Problem, signIn } from "./api.js";
import { element } from "./dom.js";
import { refresh } from "./refresh.js";
import { toast } from "./toasts.js";
import { plural, size } from "./words.js";

const form = document.querySelector("[data-upload]");
const SHOWN = 6;
let chosen = null;
let sending = null;

const find = (name) => form.querySelector(`[data-${name}]`);

/** One request with a raw body and its progress, which fetch does not tell. */
function send(path, file, told) {
  sending?.abort();
  const request = new XMLHttpRequest();
  sending = request;
  return new Promise((resolve, reject) => {
    request.open("POST", path);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.setRequestHeader("Accept", "application/json");
    request.upload.onprogress = (event) => told(event.loaded / (event.total || 1));
    request.onabort = () => reject(new DOMException("", "AbortError"));
    request.onerror = () => reject(new Problem(0, { message: "The controller does not answer.", remedy: "Look whether it runs, then try again." }));
    request.onload = () => {
      let answer = {};
      try { answer = JSON.parse(request.responseText); } catch { /* the status says enough */ }
      if (request.status === 401) signIn();
      if (request.status < 300) resolve(answer);
      else reject(new Problem(request.status, answer));
    };
    request.send(file);
  }).finally(() => { if (sending === request) sending = null; });
}

function progress(part) {
  const bar = find("progress");
  bar.hidden = part === null;
  if (part === null) return;
  if (part < 1) bar.value = part;
  else bar.removeAttribute("value"); // everything is there and being checked
}

function state(text) {
  find("state").textContent = text;
}

function problem(error) {
  const place = find("problem");
  place.hidden = !error;
  place.replaceChildren();
  if (!error) return;
  place.setAttribute("role", "alert");
  const check = error.details?.check ? `${error.details.check}: ` : "";
  place.append(element("p", {}, element("strong", {}, check), error.message));
  if (error.remedy) place.append(element("p", { class: "remedy" }, error.remedy));
}

async function choose(file) {
  chosen = null;
  problem(null);
  find("found").hidden = true;
  find("drop-text").textContent = file.name;
  find("drop-hint").textContent = size(file.size);
  find("drop").classList.add("has-file");
  const limit = form.querySelector("[data-limit]");
  form.querySelector("[data-submit]").disabled = true;
  state("Reading and checking the file…");
  try {
    const found = await send("/api/models/onnx/check", file, progress);
    chosen = file;
    fill(file, found);
  } catch (error) {
    if (error.name === "AbortError") return;
    problem(error);
    state("");
  } finally {
    progress(null);
    form.querySelector("[data-submit]").disabled = false;
    limit?.classList.remove("bad-text");
  }
}

/** What the file says, into the fields that nobody has filled. */
function fill(file, found) {
  const name = form.elements.name;
  if (!name.value || name.dataset.filled) {
    name.value = file.name.replace(/\.onnx$/i, "");
    name.dataset.filled = "1";
  }
  const features = form.elements.features;
  const given = found.features || [];
  if (!features.value || features.dataset.filled) {
    features.value = given.join(",");
    features.dataset.filled = "1";
  }
  find("width").textContent = given.length
    ? `Read from the file: ${plural(given.length, "feature")}, in the order that the model takes them.`
    : `The file takes ${plural(found.width, "feature")} and does not name them: name them in its order, comma-separated.`;
  const words = (tensors) => tensors.slice(0, SHOWN).map((t) => `${t.name} ${t.type.replace(/^tensor\((.*)\)$/, "$1")} [${t.shape.map((n) => n ?? "N").join(", ")}]`).join(" · ") + (tensors.length > SHOWN ? ` · and ${tensors.length - SHOWN} more` : "");
  const place = find("found");
  place.replaceChildren(element("dl", { class: "facts small" },
    element("dt", {}, "Inputs"), element("dd", { class: "mono" }, words(found.inputs)),
    element("dt", {}, "Outputs"), element("dd", { class: "mono" }, words(found.outputs)),
    element("dt", {}, "Made by"), element("dd", {}, `${found.producer || "unknown"}, opset ${found.opset}, ${plural(found.parameters, "parameter")}`)));
  place.hidden = false;
  state("The file has passed the checks.");
  const description = found.description || found.metadata?.description;
  if (description && !form.elements.description.value) form.elements.description.value = description;
  const target = form.elements.target;
  if (!target.value) target.focus();
}

function query() {
  const asked = new URLSearchParams();
  for (const name of ["name", "target", "features", "threshold", "sharing", "description"]) {
    const value = form.elements[name].value.trim();
    if (value) asked.set(name, name === "features" ? value.split(/[\s,]+/).filter(Boolean).join(",") : value);
  }
  if (asked.get("sharing") === "user") asked.delete("sharing");
  return asked;
}

async function submit() {
  problem(null);
  if (!chosen) return problem(new Problem(0, { message: "There is no file yet.", remedy: "Drop an .onnx file above or choose one." }));
  for (const name of ["name", "target"]) {
    const field = form.elements[name];
    if (!field.reportValidity()) return undefined;
  }
  const button = form.querySelector("[data-submit]");
  button.setAttribute("aria-busy", "true");
  try {
    const made = await send(`/api/models/onnx?${query()}`, chosen, progress);
    form.closest("dialog").close();
    toast("The file has been uploaded successfully.", { remedy: [`The model ${made.name} is version ${made.versions.at(-1).version}.`, ...(made.notices || [])].join(" ") });
    refresh();
  } catch (error) {
    if (error.name !== "AbortError") problem(error);
  } finally {
    progress(null);
    button.removeAttribute("aria-busy");
  }
  return undefined;
}

function clear() {
  sending?.abort();
  chosen = null;
  form.reset();
  for (const field of form.elements) delete field.dataset.filled;
  problem(null);
  state("");
  find("found").hidden = true;
  find("drop").classList.remove("has-file", "over");
  find("drop-text").replaceChildren(element("strong", {}, "Drop an .onnx file here"), " or choose one");
}

if (form) {
  const drop = find("drop");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  find("file").addEventListener("change", (event) => event.target.files[0] && choose(event.target.files[0]));
  form.addEventListener("input", (event) => { if (event.isTrusted) delete event.target.dataset.filled; });
  // The whole dialog takes the file: nobody should have to aim.
  const dialog = form.closest("dialog");
  for (const name of ["dragenter", "dragover"]) dialog.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  dialog.addEventListener("dragleave", (event) => !dialog.contains(event.relatedTarget) && drop.classList.remove("over"));
  dialog.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files[0]) choose(event.dataTransfer.files[0]);
  });
  dialog.addEventListener("close", clear);
}
