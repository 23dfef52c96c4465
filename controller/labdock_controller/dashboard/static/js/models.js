// The models' pages: permissions, upload, a row to try.
import "./upload.js";
import "./try.js";
import { open } from "./dialogs.js";

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-permissions]");
  if (button) permissions(button);
});

/** Fill the dialog with what holds now. */
function permissions(button) {
  const form = document.querySelector("[data-permissions-form]");
  const given = JSON.parse(button.dataset.given);
  form.dataset.api = `PUT ${button.dataset.permissions}`;
  form.querySelector("[data-model-name]").textContent = button.dataset.model;
  form.querySelector("[data-owner-name]").textContent = button.dataset.owner;
  form.querySelector("[data-everyone]").checked = given.readers === null;
  form.elements.app.value = given.app;
  for (const radio of form.querySelectorAll("[name=sharing]")) radio.checked = radio.value === given.sharing;
  for (const name of ["readers", "writers"]) {
    for (const box of form.querySelectorAll(`[name=${name}]`)) box.checked = (given[name] || []).includes(box.value);
  }
  settle(form);
  open("permissions");
}

document.addEventListener("change", (event) => {
  const form = event.target.closest("[data-permissions-form]");
  if (form) settle(form);
});

/** Roles count where it is shared; single ones where not everyone may read. */
function settle(form) {
  const shared = form.querySelector("[name=sharing]:checked")?.value !== "user";
  const everyone = form.querySelector("[data-everyone]");
  everyone.disabled = !shared;
  for (const box of form.querySelectorAll("[name=writers]")) box.disabled = !shared;
  for (const box of form.querySelectorAll("[name=readers]")) {
    box.disabled = !shared || everyone.checked;
    if (everyone.checked) box.checked = true;
  }
}

document.addEventListener("keydown", (event) => {
  if (event.key !== "u" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select, dialog[open], [contenteditable]")) return;
  if (document.getElementById("upload")) {
    event.preventDefault();
    open("upload");
  }
});

// `#delete` and `#upload` in an address open the dialog, so that lists can lead to it.
const wanted = location.hash.slice(1);
if (["delete", "upload"].includes(wanted) && document.getElementById(wanted)) open(wanted);
