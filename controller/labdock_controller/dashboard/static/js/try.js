// A row to try a model on: the form's values become a search, and what it predicts is shown beside them.
import { api } from "./api.js";
import { element } from "./dom.js";
import { refresh } from "./refresh.js";
import { number } from "./words.js";

const HIDDEN = new Set(["_time", "_raw"]);

/** A value as the search language writes it. */
function literal(field) {
  const text = field.value.trim();
  if (text === "") return null;
  if (field.dataset.kind !== "text" && Number.isFinite(Number(text))) return text;
  return `"${text.replace(/\\/g, "\\\\").replace(/"/g, '\\"')}"`;
}

function search(form) {
  const given = [];
  for (const field of form.querySelectorAll("[data-feature]")) {
    const value = literal(field);
    if (value !== null) given.push(`'${field.dataset.feature.replace(/\\/g, "\\\\").replace(/'/g, "\\'")}'=${value}`);
  }
  const row = given.length ? ` | eval ${given.join(", ")}` : "";
  return `| makeresults${row} | apply ${form.dataset.called}`;
}

async function run(form) {
  const button = form.querySelector("[data-submit]");
  const place = form.querySelector("[data-problem]");
  const output = form.querySelector("[data-output]");
  place.hidden = true;
  button.setAttribute("aria-busy", "true");
  try {
    const asked = { search: search(form), max_rows: 1, max_seconds: 60 };
    let job = await api("POST", "/api/searches?wait=60", asked);
    while (["queued", "running"].includes(job.status)) job = await api("GET", `/api/searches/${job.id}?wait=60`);
    if (job.error) throw Object.assign(new Error(job.error.message), { remedy: job.error.remedy });
    const { rows } = await api("GET", `/api/searches/${job.id}/page?offset=0&count=1`);
    show(output, form, rows[0] || {});
    refresh();
  } catch (error) {
    output.replaceChildren();
    place.hidden = false;
    place.setAttribute("role", "alert");
    place.replaceChildren(element("p", {}, error.message), element("p", { class: "remedy" }, error.remedy || ""));
  } finally {
    button.removeAttribute("aria-busy");
  }
}

function show(output, form, row) {
  const features = new Set([...form.querySelectorAll("[data-feature]")].map((field) => field.dataset.feature));
  const found = Object.entries(row).filter(([name]) => !features.has(name) && !HIDDEN.has(name));
  const list = element("dl", { class: "figures predicted" });
  for (const [name, value] of found) {
    const text = typeof value === "number" ? number(value) : value === null ? "–" : String(value);
    list.append(element("div", {}, element("dt", {}, name), element("dd", { "data-value": String(value) }, text)));
  }
  output.replaceChildren(found.length ? list : element("p", { class: "soft" }, "It predicts nothing for this row."));
}

document.addEventListener("submit", (event) => {
  const form = event.target.closest("form[data-try]");
  if (!form) return;
  event.preventDefault();
  run(form);
});

// A pasted row fills one field after the other.
document.addEventListener("paste", (event) => {
  const form = event.target.closest?.("form[data-try]");
  const parts = event.clipboardData?.getData("text").trim().split(/\s*[\t,;]\s*|\n/) || [];
  if (!form || parts.length < 2) return;
  event.preventDefault();
  const fields = [...form.querySelectorAll("[data-feature]")];
  const from = fields.indexOf(event.target);
  parts.forEach((part, index) => { if (fields[from + index]) fields[from + index].value = part.replace(/^"(.*)"$/, "$1"); });
});
