// An alert's own page: editing it.
import { $, ask, form } from "../search/common.js";
import { leave } from "../refresh.js";
import { definitionOf, fill } from "./definition.js";

$("[data-edit-alert]")?.addEventListener("click", () => {
  const dialog = $("#edit-alert");
  const before = JSON.parse($("form", dialog).dataset.definition);
  form(dialog, async (given, made) => {
    const body = {
      ...definitionOf(given, made), search: given.search, earliest: given.earliest, latest: given.latest,
      app: before.app, timezone: before.timezone, max_seconds: before.max_seconds,
    };
    leave(true); // what is refreshed meanwhile would show the new definition beside the old one's buttons
    try {
      await ask("PUT", `/api/saved-searches/${encodeURIComponent(before.name)}`, { body, query: { replace: true } });
    } catch (problem) {
      leave(false);
      throw problem;
    }
    location.reload();
  }, { before: (made) => fill(made, before) });
});
