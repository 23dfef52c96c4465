// The theme is a cookie, so that the page comes in it; `localStorage` tells the other tabs.
import { announce } from "./events.js";

const NAMES = ["system", "light", "dark"];
const KEY = "labdock_theme";

export function setTheme(name) {
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `${KEY}=${name}; Path=/; Max-Age=31536000; SameSite=Lax${secure}`;
  localStorage.setItem(KEY, name);
  show(name);
}

function show(name) {
  document.documentElement.dataset.theme = name;
  document.querySelector('meta[name="color-scheme"]').content = name === "system" ? "light dark" : name;
  for (const button of document.querySelectorAll("[data-theme-to]")) {
    button.setAttribute("aria-pressed", String(button.dataset.themeTo === name));
  }
  announce("theme", name); // canvases draw anew
}

export function nextTheme() {
  setTheme(NAMES[(NAMES.indexOf(document.documentElement.dataset.theme) + 1) % NAMES.length]);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-theme-to]");
  if (button) setTheme(button.dataset.themeTo);
});
addEventListener("storage", (event) => event.key === KEY && NAMES.includes(event.newValue) && show(event.newValue));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => announce("theme", "system"));
