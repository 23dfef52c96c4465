// What one searched for before: under the arrow keys of the editor and in a window.
import { $, ask, el } from "./common.js";

/** `used(entry)` is told which one was chosen. `list` is the newest first. */
export function pastSearches(dialog, { app, used }) {
  const place = $("[data-past]", dialog);
  const wanted = $("[data-past-filter]", dialog);
  const past = {
    list: [],
    /** Note what was typed, here and at the controller. */
    add({ search, earliest, latest }) {
      past.list = [{ search, earliest, latest, used: Date.now() / 1000 }, ...past.list.filter((p) => p.search !== search)];
      draw();
      ask("POST", "/api/search/history", { body: { search, app, earliest, latest } }).catch(() => {});
    },
  };

  function draw() {
    const words = wanted.value.toLowerCase();
    const found = past.list.filter((p) => p.search.toLowerCase().includes(words)).slice(0, 100);
    const none = past.list.length ? "No search has these words." : "What you search for is listed here.";
    place.replaceChildren(...(found.length ? found.map(entry) : [el("li", { class: "none" }, none)]));
  }

  function entry(each) {
    const use = () => {
      dialog.close();
      used(each);
    };
    return el("li", {}, el("button", { type: "button", class: "past-search", onclick: use },
      el("code", {}, each.search),
      el("span", { class: "faint small" }, [each.earliest || "all time", each.latest].filter(Boolean).join(" – "))));
  }

  wanted.addEventListener("input", draw);
  $("[data-past-clear]", dialog).addEventListener("click", async () => {
    await ask("DELETE", "/api/search/history");
    past.list = [];
    draw();
  });
  ask("GET", "/api/search/history", { query: { limit: 200 } }).then((found) => {
    const here = new Set(past.list.map((p) => p.search));
    past.list = [...past.list, ...found.filter((p) => !here.has(p.search))];
    draw();
  }, () => {});
  return past;
}
