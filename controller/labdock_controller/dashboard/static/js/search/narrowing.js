// A search with one condition more.

const PLAIN = /^[A-Za-z_][\w.]*$/;

/** `search` for those rows with `name=value`, or with `not` for the others. */
export function narrowed(search, name, value, not) {
  const text = typeof value === "number" ? String(value) : `"${String(value).replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
  const before = search.trimEnd();
  const compared = `${not ? "!=" : "="}${text}`;
  const plain = PLAIN.test(name);
  if (plain && !/[|[]/.test(before)) return `${before} ${name}${compared}`;
  return `${before}\n| where ${plain ? name : `'${name}'`}${compared}`;
}
