// The form of an alert and the definition that it stands for; `templates/alerts/form.html` has its fields.

/** From the form's values to the API's definition. */
export function definitionOf(given, form) {
  const actions = [];
  if (given.webhook) actions.push({ type: "webhook", url: given.webhook });
  if (given.email) actions.push({ type: "email", to: given.email.split(/[\s,;]+/).filter(Boolean) });
  if (given.script) actions.push({ type: "script", name: given.script });
  if (given.notable === "on") {
    const notable = { type: "index" };
    if (given.title) notable.title = given.title;
    if (given.risk_object) Object.assign(notable, { risk_object: given.risk_object, risk_score: Number(given.risk_score || 0) });
    actions.push(notable);
  }
  const kept = JSON.parse(form?.dataset.others || "[]"); // actions that the form has no field for
  const throttle = Number(given.throttle) > 0 ? { seconds: Number(given.throttle) * 60 } : {};
  if (throttle.seconds && given.throttle_fields) throttle.fields = given.throttle_fields.split(/[\s,]+/).filter(Boolean);
  const condition = given.condition === "search" ? { search: given.condition_search } : { rows: given.comparison, value: Math.round(Number(given.value)) };
  return {
    schedule: given.schedule.trim(), description: given.description || "", condition, throttle, actions: [...actions, ...kept],
    sharing: given.sharing || "",
  };
}

/** Puts a definition into the form's fields. */
export function fill(form, definition) {
  const set = (name, value) => {
    const field = form.elements.namedItem(name);
    if (!field) return;
    if (field.type === "checkbox") field.checked = Boolean(value);
    else field.value = value ?? "";
  };
  const of = (type) => definition.actions.find((a) => a.type === type);
  const used = new Set();
  const first = (type) => {
    const found = of(type);
    if (found) used.add(found);
    return found;
  };
  set("schedule", definition.schedule);
  set("description", definition.description);
  set("sharing", definition.sharing);
  set("condition", definition.condition.search ? "search" : "rows");
  set("condition_search", definition.condition.search || "");
  set("comparison", definition.condition.rows || ">");
  set("value", definition.condition.value ?? 0);
  set("throttle", definition.throttle.seconds ? definition.throttle.seconds / 60 : "");
  set("throttle_fields", (definition.throttle.fields || []).join(", "));
  set("webhook", first("webhook")?.url);
  const email = first("email");
  set("email", email ? [].concat(email.to).join(", ") : "");
  set("script", first("script")?.name);
  const notable = first("index");
  set("notable", notable);
  set("title", notable?.title);
  set("risk_object", notable?.risk_object);
  set("risk_score", notable?.risk_score);
  form.dataset.others = JSON.stringify(definition.actions.filter((a) => !used.has(a)));
  form.dispatchEvent(new Event("change", { bubbles: true }));
}

/** Only what the choices made ask for is shown. */
function adapt(form) {
  for (const field of form.querySelectorAll("[data-when]")) {
    const on = form.elements.condition?.value === field.dataset.when;
    field.hidden = !on;
    field.disabled = !on;
  }
  const notable = form.querySelector("[data-when-notable]");
  if (notable) notable.hidden = !form.elements.notable.checked;
}

document.addEventListener("change", (event) => {
  const form = event.target.closest?.("form") || event.target;
  if (form.elements?.condition) adapt(form);
});
