// Which fields of a result are columns: all of a statistic's, those that the first events have, or what the user chose.
import { ask } from "./common.js";

const MOST = 60; // shown at once without being asked for
const OF_EVENTS = 7;
const KEPT = "labdock_columns";
const EVERYWHERE = ["source", "sourcetype", "host", "index", "punct"];

/** Names of fields, in their order. */
export async function chosen(job) {
  const names = job.fields.map((f) => f.name);
  if (job.kind !== "events") return names.filter((n) => !n.startsWith("_") || n === "_time").slice(0, MOST);
  const kept = JSON.parse(sessionStorage.getItem(KEPT) || "[]").filter((n) => names.includes(n));
  if (kept.length > 1) return kept;
  // The fields that the first events have: events of other kinds come later, with other fields.
  const { rows } = await ask("GET", `/api/searches/${job.id}/page`, { query: { count: 100 } }).catch(() => ({ rows: [] }));
  const filled = (name) => rows.filter((row) => row[name] !== null).length;
  const own = names.filter((n) => !n.startsWith("_") && !EVERYWHERE.includes(n) && filled(n) > rows.length / 3);
  const first = [...(names.includes("_time") ? ["_time"] : []), ...own.slice(0, OF_EVENTS)];
  return own.length > 2 ? first : [...first, ...names.filter((n) => n === "_raw" || n === "host" || n === "sourcetype")];
}

/** What the user chose stays for the events of later searches. */
export function keep(job, columns) {
  if (job.kind === "events") sessionStorage.setItem(KEPT, JSON.stringify(columns));
}

/** The fields of these names. */
export const named = (job, names) => names.map((name) => job.fields.find((f) => f.name === name)).filter(Boolean);
