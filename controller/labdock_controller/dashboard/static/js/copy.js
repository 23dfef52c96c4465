// `data-copy="text"` copies it; where browsers give no clipboard (plain http elsewhere), the old way does.
import { toast } from "./toasts.js";

export async function copy(text) {
  if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "seen-only";
  (document.querySelector("dialog[open]") || document.body).append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  if (!done) throw new Error("The browser refused to copy.");
  return undefined;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  button.closest("details[data-menu]")?.removeAttribute("open");
  try {
    await copy(button.dataset.copy);
    toast(button.dataset.says || "Copied.");
  } catch {
    toast("The browser refused to copy.", { remedy: "Select the text and copy it by hand.", kind: "bad" });
  }
});
