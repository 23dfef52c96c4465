// Tabulator, the library that draws tables of results: fetched while the first search runs.
import { el } from "./common.js";

const MODULES = ["FormatModule", "FrozenColumnsModule", "InteractionModule", "MoveColumnsModule", "ResizeColumnsModule", "ResizeTableModule"];
let loading = null;

/** The library's class, once it is there; a page without a result does without it. */
export function prepare() {
  loading ??= Promise.all([import("../../vendor/tabulator.js"), stylesheet("../../vendor/tabulator.css")]).then(([library]) => {
    library.Tabulator.registerModule(MODULES.map((name) => library[name]));
    return library.Tabulator;
  });
  loading.catch(() => (loading = null)); // the next search tries again
  return loading;
}

/** Before the page's own stylesheets, which have the last word. */
function stylesheet(path) {
  return new Promise((resolve, reject) => {
    const link = el("link", { rel: "stylesheet", href: new URL(path, import.meta.url), onload: resolve, onerror: reject });
    document.head.prepend(link);
  });
}
