// The lab's one button that runs a search here: fit, and say what came of it.
import { api } from "./api.js";
import { element } from "./dom.js";
import { refresh } from "./refresh.js";
import { duration, number } from "./words.js";

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-search-fit]");
  if (!button || button.hasAttribute("aria-busy")) return;
  const result = document.querySelector("[data-fit-result]");
  button.setAttribute("aria-busy", "true");
  result.replaceChildren(element("span", { class: "loading" }, element("span", { class: "spinner", "aria-hidden": "true" }), "Counting the events, then fitting…"));
  try {
    let job = await api("POST", "/api/searches?wait=5", { search: button.dataset.searchFit, earliest: "0" });
    while (job.status === "running") job = await api("GET", `/api/searches/${job.id}?wait=20`);
    if (job.status === "done") {
      result.replaceChildren(element("p", { class: "soft" }, `Fitted on ${number(job.rows)} rows in ${duration(job.duration)}.`));
      refresh();
    } else fail(result, job.error || { message: `The search was ${job.status}.` });
  } catch (problem) {
    fail(result, problem);
  } finally {
    button.removeAttribute("aria-busy");
  }
});

function fail(result, problem) {
  const text = element("p", {}, problem.message || problem.detail || "The search failed.");
  const remedy = problem.remedy ? element("p", { class: "remedy" }, problem.remedy) : "";
  result.replaceChildren(element("div", { class: "problem", role: "alert" }, text, remedy));
}
