// The controller's events, for as long as the page is looked at: browsers allow a site few connections, so a hidden tab
// has none and asks anew when it is shown. `on(kind, …)` of events.js hears them.
import { announce } from "./events.js";
import { refresh } from "./refresh.js";
import { signIn } from "./api.js";

const KINDS = ["environment", "removed", "progress", "phase", "idle-warning", "settings", "model", "alert"];
const PATIENCE = 1500;
const OPENING = 10_000; // a connection that neither opens nor fails, as when the machine's networks change, is given up
let source = null;
// What happened between the page's making and the first connection is not told again: look once more then.
let missed = document.querySelector('[data-refresh]:not([data-refresh=""])') !== null;
let timer = 0;
let opening = 0;
let tries = 0;

function connect() {
  if (source || document.hidden || !document.documentElement.dataset.user) return;
  source = new EventSource("/api/events");
  const mine = source;
  opening = setTimeout(() => mine.readyState === EventSource.CONNECTING && mine.onerror(), OPENING);
  source.onopen = () => {
    tries = 0;
    clearTimeout(timer);
    clearTimeout(opening);
    lost(false);
    if (missed) refresh();
    missed = false;
    announce("connected");
  };
  source.onerror = async () => {
    missed = true;
    disconnect();
    timer = setTimeout(() => lost(true), PATIENCE);
    setTimeout(connect, Math.min(10_000, 500 * 2 ** tries++));
    // EventSource does not tell why: an ended session is not a lost controller.
    const answer = await fetch("/api/me", { credentials: "same-origin" }).catch(() => null);
    if (answer?.status === 401) signIn();
  };
  for (const kind of KINDS) source.addEventListener(kind, (event) => announce(kind, JSON.parse(event.data)));
}

function disconnect() {
  clearTimeout(opening);
  source?.close();
  source = null;
}

function lost(is) {
  const banner = document.querySelector("[data-lost]");
  if (banner && banner.hidden === is) {
    banner.hidden = !is;
    announce(is ? "lost" : "found");
  }
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    missed = true;
    disconnect();
  } else connect();
});
// Back and forward show the page as it was left.
addEventListener("pageshow", (event) => {
  if (event.persisted) {
    missed = true;
    connect();
  }
});
addEventListener("pagehide", disconnect);
connect();
