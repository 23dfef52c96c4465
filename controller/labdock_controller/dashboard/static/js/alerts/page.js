// An alert's own page: editing it.
import { $, ask, form } from "../search/common.js";
import { leaving } from "../refresh.js";
import { definitionOf, fill } from "./definition.js";

$("[data-edit-alert]")?.addEventListener("click", () => {
  const dialog = $("#edit-alert");
  const before = JSON.parse($("form", dialog).dataset.definition);
  form(dialog, async (given, made) => {
    const body = {
      ...definitionOf(given, made), search: given.search, earliest: given.earliest, latest: given.latest,
      app: before.app, timezone: before.timezone, max_seconds: before.max_seconds,
    };
    const path = `/api/saved-searches/${encodeURIComponent(before.name)}`;
    await leaving(() => ask("PUT", path, { body, query: { replace: true } }));
    location.reload();
  }, { before: (made) => fill(made, before) });
});
