// The administration's dialogs: roles of a user, sign-in links and tokens, which are shown once.
import { open } from "./dialogs.js";
import { htmx } from "./htmx.js";

/** Show a secret in its dialog; closing forgets it. */
function reveal(id, secret, user = "") {
  const dialog = document.getElementById(id);
  dialog.querySelector("[data-secret]").textContent = secret;
  dialog.querySelector("[data-copy]").dataset.copy = secret;
  const name = dialog.querySelector("[data-user-name]");
  if (name) name.textContent = user;
  setTimeout(() => open(id)); // the dialog that asked for it is closed first
}

for (const id of ["token", "ticket"]) {
  document.getElementById(id)?.addEventListener("close", (event) => {
    event.target.querySelector("[data-secret]").textContent = "";
    event.target.querySelector("[data-copy]").dataset.copy = "";
  });
}

document.addEventListener("labdock:done", (event) => {
  const source = event.target;
  if (source.matches("[data-new-token]")) {
    reveal("token", event.detail.result.token);
    everything(source, true);
  } else if (source.matches("[data-ticket]")) reveal("ticket", event.detail.result.url, source.dataset.ticket);
});

function everything(form, yes) {
  form.querySelector("[data-everything]").checked = yes;
  form.querySelector("[data-capabilities]").hidden = yes;
  for (const box of form.querySelectorAll("[name=capabilities]")) box.disabled = yes;
}

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-everything]")) everything(event.target.form, event.target.checked);
});

document.addEventListener("click", (event) => {
  const roles = event.target.closest("[data-roles]");
  if (!roles) return;
  const form = document.querySelector("[data-roles-form]");
  const held = JSON.parse(roles.dataset.roles);
  form.dataset.api = `PATCH /api/users/${encodeURIComponent(roles.dataset.user)}`;
  form.querySelector("[data-user-name]").textContent = roles.dataset.user;
  for (const box of form.querySelectorAll("[name=roles]")) box.checked = held.includes(box.value);
  open("user-roles");
});

/** The checks of the doctor take seconds: they come when the page stands. */
async function checks() {
  const place = document.querySelector("[data-checks]");
  if (!place) return;
  const button = document.querySelector("[data-checks-again]");
  button?.setAttribute("aria-busy", "true");
  try {
    await (await htmx()).ajax("GET", place.dataset.checks, { target: "#checks", swap: "outerHTML", select: "#checks" });
  } finally {
    button?.removeAttribute("aria-busy");
  }
}
document.addEventListener("click", (event) => event.target.closest("[data-checks-again]") && checks());
checks();
