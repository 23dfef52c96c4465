// `[data-tabs]` with `role=tab` buttons shows one panel of the page at a time.

export function select(tab) {
  for (const other of tab.parentElement.querySelectorAll('[role="tab"]')) {
    const on = other === tab;
    other.setAttribute("aria-selected", String(on));
    other.tabIndex = on ? 0 : -1;
    const panel = document.getElementById(other.getAttribute("aria-controls"));
    if (panel) panel.hidden = !on;
  }
  tab.dispatchEvent(new CustomEvent("labdock:tab", { bubbles: true, detail: { panel: tab.getAttribute("aria-controls") } }));
}

document.addEventListener("click", (event) => {
  const tab = event.target.closest('[data-tabs] [role="tab"]');
  if (tab) select(tab);
});

document.addEventListener("keydown", (event) => {
  const tab = event.target.closest?.('[data-tabs] [role="tab"]');
  if (!tab || !["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) return;
  const all = [...tab.parentElement.querySelectorAll('[role="tab"]:not([hidden])')];
  const at = all.indexOf(tab);
  const next = { ArrowLeft: all.at(at - 1), ArrowRight: all[(at + 1) % all.length], Home: all[0], End: all.at(-1) }[event.key];
  select(next);
  next.focus();
  event.preventDefault();
});
