// Parts of a page that show the controller's state: `[data-refresh="environment removed"]` is fetched again from the
// page's own address and morphed in place when one of these events comes, after an action and after a lost connection.
import { signIn } from "./api.js";
import { announce, on } from "./events.js";
import { htmx } from "./htmx.js";

const PAUSE = 150;
const RETRY = 3000;
const LONGEST = 20_000; // a request that is never answered must not end all refreshing
let waiting = 0;
let again = false;
let running = false;
let left = false;

/** Fetch the live parts of this page again; many calls at once become one. */
export function refresh(pause = PAUSE) {
  if (running || left || document.hidden) {
    again = true; // as soon as that is over, or the page is looked at again
    return;
  }
  clearTimeout(waiting);
  waiting = setTimeout(fetchParts, pause);
}

/** Do what leads away from this page, or loads it anew: nothing is fetched from then on, for what it shows may be gone. */
export async function leaving(send) {
  leave(true);
  try {
    return await send();
  } catch (problem) {
    leave(false);
    throw problem;
  }
}

function leave(is) {
  left = is;
  if (is) clearTimeout(waiting);
  else refresh();
}

async function fetchParts() {
  if (!document.querySelector("[data-refresh]")) return;
  running = true;
  again = false;
  let failed = false;
  try {
    const headers = { "HX-Request": "true", "HX-Current-URL": location.href, Accept: "text/html" };
    const signal = AbortSignal.timeout(LONGEST);
    const answer = await fetch(location.pathname + location.search, { headers, credentials: "same-origin", signal });
    if (answer.headers.has("HX-Redirect")) return signIn();
    if (answer.ok) morph(await htmx(), await answer.text());
  } catch {
    failed = true;
  } finally {
    running = false;
    if (failed) refresh(RETRY);
    else if (again) refresh();
  }
  return undefined;
}

/** One answer for all parts: they stay of one moment. What is not in it any more has no content. */
function morph(by, text) {
  const fresh = new DOMParser().parseFromString(text, "text/html");
  for (const part of document.querySelectorAll("[data-refresh]")) {
    const now = fresh.getElementById(part.id);
    if (!now) continue;
    by.morph(part, now);
    by.process(part);
  }
  announce("changed");
}

const kinds = [...document.querySelectorAll("[data-refresh]")].flatMap((part) => part.dataset.refresh.split(" "));
for (const kind of new Set(kinds)) if (kind) on(kind, () => refresh());
document.addEventListener("visibilitychange", () => !document.hidden && again && refresh());
addEventListener("pageshow", (event) => event.persisted && leave(false)); // the Back button came here again
