// Environments: what they use, their images by runtime, and a token for VS Code.
import { api } from "./api.js";
import { copy } from "./copy.js";
import { setText } from "./dom.js";
import { on } from "./events.js";
import { spark } from "./spark.js";
import { write } from "./times.js";
import { failed, toast } from "./toasts.js";
import { size } from "./words.js";

const EVERY = 3000;
let timer = 0;

async function measure() {
  clearTimeout(timer);
  if (document.hidden || !document.querySelector("[data-use]")) return;
  try {
    for (const reading of await api("GET", "/api/usage")) show(reading);
  } catch {
    return; // the banner says it
  } finally {
    timer = setTimeout(measure, EVERY);
  }
}

function show(reading) {
  const place = document.querySelector(`[data-environment="${CSS.escape(reading.name)}"]`);
  if (!place) return;
  const [cpu, memory] = ["cpu", "memory"].map((kind) => place.querySelector(`[data-use="${kind}"]`));
  if (!cpu || !memory) return;
  setText(cpu.querySelector("[data-figure]"), reading.cpu === null ? "–" : reading.cpu.toFixed(2));
  setText(memory.querySelector("[data-figure]"), size(reading.memory));
  if (reading.memory_limit) setText(memory.querySelector("[data-limit]"), `of ${size(reading.memory_limit)}`);
  spark(cpu.querySelector(".spark"), reading.points.map((p) => [p[0], p[1]]), reading.cpus);
  spark(memory.querySelector(".spark"), reading.points.map((p) => [p[0], p[2]]), reading.memory_limit, "--chart-3");
  moment(place.querySelector("[data-activity]"), reading.last_activity, "relative");
  const stops = place.querySelector("[data-stops]");
  if (stops) {
    stops.hidden = !reading.stops_at;
    moment(stops, reading.stops_at, "until");
  }
  write(place);
}

/** Put a moment into the `<time>` of `place`, which is made where there is none. */
function moment(place, epoch, form) {
  if (!place || !epoch) return;
  let time = place.querySelector("time");
  if (!time) {
    time = document.createElement("time");
    time.dataset.time = form;
    place.replaceChildren(time);
  }
  const iso = new Date(epoch * 1000).toISOString();
  if (time.dateTime !== iso) {
    time.dateTime = iso;
    time.removeAttribute("title");
  }
}

measure();
on("connected", measure);
on("changed", measure);
document.addEventListener("visibilitychange", measure);

// An image belongs to the runtimes that have it; the local one has none.
function offer() {
  const runtime = document.querySelector("[data-runtime]");
  const field = document.querySelector("[data-images]");
  if (!runtime || !field) return;
  const select = field.querySelector("select");
  let any = false;
  for (const option of select.options) {
    const fits = option.dataset.runtimes.split(" ").includes(runtime.value);
    option.hidden = option.disabled = !fits;
    any ||= fits;
  }
  field.hidden = !any;
  select.disabled = !any;
  if (any && select.selectedOptions[0]?.disabled) select.value = [...select.options].find((o) => !o.disabled).value;
}
document.addEventListener("change", (event) => event.target.matches("[data-runtime]") && offer());
offer();

document.addEventListener("click", async (event) => {
  const address = event.target.closest("[data-copy-url]");
  const token = event.target.closest("[data-token]");
  if (address) {
    address.closest("details")?.removeAttribute("open");
    await copy(location.origin + address.dataset.copyUrl).then(() => toast("Copied."), failed);
  } else if (token) {
    try {
      const stamp = new Date().toISOString().replace(/\D/g, "").slice(0, 14);
      const body = { name: `vscode-${stamp}`, capabilities: ["control_environments", "list_environments"], days: 30 };
      const made = await api("POST", "/api/tokens", body);
      await copy(made.token);
      toast("A token is in the clipboard.", { remedy: `It is called ${body.name}, lasts 30 days and controls your environments; remove it under Administration, Tokens.` });
    } catch (problem) {
      failed(problem);
    }
  }
});

on("removed", (gone) => {
  const page = document.getElementById("environment");
  if (page && page.dataset.environment === gone.name && !document.querySelector("dialog[open]")) location.assign("/environments");
});
