// What happens in the page and at the controller, as events of the document: `labdock:<kind>` with its data as `detail`.

export function announce(kind, detail) {
  document.dispatchEvent(new CustomEvent(`labdock:${kind}`, { detail }));
}

/** `on("environment", (data) => …)`; kinds are the controller's, and: connected, lost, changed (content came), theme. */
export function on(kind, listener) {
  document.addEventListener(`labdock:${kind}`, (event) => listener(event.detail));
}
