// A log as it is written. It follows its end unless one scrolled up to read.
import { setText } from "./dom.js";
import { on } from "./events.js";

const KEPT = 400_000; // characters
const place = document.querySelector("[data-log]");
const state = document.querySelector("[data-log-state]");
let source = null;
let fresh = true;
let buffer = [];

function follow() {
  if (source || document.hidden || !place) return;
  source = new EventSource(`/api/environments/${encodeURIComponent(place.dataset.log)}/logs?follow=true&tail=200`);
  fresh = true;
  source.onopen = () => say("live");
  source.onmessage = (event) => {
    if (!buffer.length) requestAnimationFrame(flush);
    buffer.push(JSON.parse(event.data));
  };
  source.addEventListener("end", () => {
    stop();
    say("ended");
  });
  source.onerror = () => {
    stop();
    say("");
  };
}

function flush() {
  const text = `${buffer.join("\n")}\n`;
  buffer = [];
  const atEnd = place.scrollHeight - place.scrollTop - place.clientHeight < 40;
  // The stream begins with the last lines, which are there already.
  const all = fresh ? text : place.textContent + text;
  fresh = false;
  if (place.textContent !== all) place.textContent = all.length > KEPT ? all.slice(-KEPT) : all;
  if (atEnd) place.scrollTop = place.scrollHeight;
}

function stop() {
  source?.close();
  source = null;
}

function say(text) {
  setText(state, text);
}

if (place) {
  place.scrollTop = place.scrollHeight;
  follow();
  on("environment", (now) => now.name === place.dataset.log && ["starting", "running"].includes(now.status) && follow());
  on("connected", follow);
  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : follow()));
  addEventListener("pagehide", stop);
}
