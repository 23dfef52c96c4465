// All of a row's fields, in a window.
import { $, el, shown } from "./common.js";

/** `narrow(name, value, not)` is told what the user picks. */
export function openRow(row, fields, narrow) {
  const dialog = $("#row");
  const tool = (sign, label, title, name, not) => el("button", {
    type: "button", class: "quiet only-icon small", "aria-label": label, title,
    onclick: () => (dialog.close(), narrow(name, row[name], not)),
  }, sign);
  const list = el("dl", { class: "pairs row-fields" });
  for (const { name } of fields) {
    const value = row[name];
    if (value === null || value === undefined) continue;
    const tools = ["number", "string"].includes(typeof value)
      ? el("span", { class: "row-tools" },
        tool("=", `Only ${name}=${value}`, "Only these", name, false),
        tool("≠", `Leave out ${name}=${value}`, "Leave these out", name, true))
      : "";
    list.append(el("div", {}, el("dt", {}, name), el("dd", {}, el("span", { class: "value" }, shown(value, name)), tools)));
  }
  $("[data-row]", dialog).replaceChildren(list);
  dialog.showModal();
}
