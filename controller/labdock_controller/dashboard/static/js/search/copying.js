// The search as a command line, as Python, as a link.
import { $, copy, quoted } from "./common.js";

/** `current()` gives `{search, earliest, latest, app}`. */
export function copying(current) {
  const given = () => {
    const { earliest, latest, app } = current();
    return [["earliest", earliest], ["latest", latest], ["app", app === "search" ? "" : app]].filter(([, value]) => value);
  };
  $("[data-copy-command]").addEventListener("click", () => {
    copy(["labdock search", quoted(current().search), ...given().map(([name, value]) => `--${name} ${quoted(value)}`)].join(" "));
  });
  $("[data-copy-python]").addEventListener("click", () => {
    const more = given().map(([name, value]) => `, ${name}=${JSON.stringify(value)}`).join("");
    copy(`import labdock\n\nlab = labdock.connect()\nrows = lab.search(${JSON.stringify(current().search)}${more}).pandas()\n`);
  });
  $("[data-copy-link]").addEventListener("click", () => {
    const query = new URLSearchParams(location.search);
    query.delete("job");
    copy(`${location.origin}${location.pathname}?${query}`);
  });
}
