// Menus (`details[data-menu]`; those of rows are filled when they open) close on Escape, on a click elsewhere, and when one
// is chosen; arrows move. The narrow screen's navigation, too.

document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details[data-menu][open]")) {
    if (!menu.contains(event.target) || event.target.closest(".list a")) menu.open = false;
  }
  const button = event.target.closest("[data-nav]");
  const side = document.getElementById("nav");
  if (!side) return;
  const open = button ? !side.classList.contains("open") : side.classList.contains("open") && side.contains(event.target);
  side.classList.toggle("open", open);
  document.querySelector("[data-nav]").setAttribute("aria-expanded", String(open));
});

document.addEventListener("toggle", (event) => {
  const menu = event.target;
  if (!menu.matches?.("details[data-menu]") || !menu.open) return;
  for (const other of document.querySelectorAll("details[data-menu][open]")) if (other !== menu) other.open = false;
  const list = menu.querySelector(".list");
  if (menu.dataset.menuOf) list.replaceChildren(entriesOf(menu));
  menu.classList.remove("up");
  // A scrolling table cuts off what hangs out of it: place the list on the screen instead.
  const box = menu.getBoundingClientRect();
  const height = list.offsetHeight;
  list.style.position = "fixed";
  list.style.right = `${document.documentElement.clientWidth - box.right}px`;
  list.style.top = box.bottom + height + 8 > innerHeight && box.top > height ? `${box.top - height - 4}px` : `${box.bottom + 4}px`;
}, true);

/** The entries that this row's menu has now; what users wrote is only ever put into attributes' values. */
function entriesOf(menu) {
  const made = document.getElementById(menu.dataset.menuOf).content.cloneNode(true);
  const has = menu.dataset.has.split(" ");
  const values = JSON.parse(menu.dataset.values);
  for (const entry of made.querySelectorAll("[data-if]")) {
    if (!has.includes(entry.dataset.if)) entry.remove();
    else entry.removeAttribute("data-if");
  }
  for (const entry of made.querySelectorAll("a, button")) {
    for (const attribute of entry.attributes) {
      attribute.value = attribute.value.replaceAll(/\{(\w+)\}/g, (all, key) => values[key] ?? all);
    }
  }
  return made;
}

// What scrolls takes its menus along, and an open one would stay behind.
document.addEventListener("scroll", (event) => {
  for (const menu of document.querySelectorAll("details[data-menu][open]")) {
    if (event.target.contains(menu)) menu.open = false;
  }
}, { capture: true, passive: true });

document.addEventListener("keydown", (event) => {
  const menu = event.target.closest?.("details[data-menu][open]");
  if (!menu) return;
  const entries = [...menu.querySelectorAll(".list a, .list button")];
  const at = entries.indexOf(document.activeElement);
  if (event.key === "Escape") {
    menu.open = false;
    menu.querySelector("summary").focus();
  } else if (event.key === "ArrowDown") entries[(at + 1) % entries.length]?.focus();
  else if (event.key === "ArrowUp") entries[(at - 1 + entries.length) % entries.length]?.focus();
  else return;
  event.preventDefault();
});
