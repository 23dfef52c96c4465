// htmx, which changes parts of a page in place: it comes behind the page's first content, which needs none of it.
const LATER = 300;
let loading;

/** htmx, with idiomorph's `morph(element, fresh)`. Rejects where it cannot be fetched; the next call tries again. */
export function htmx() {
  loading ??= import("../vendor/htmx.min.js").then(
    () => window.htmx,
    (problem) => {
      loading = undefined;
      throw problem;
    },
  );
  return loading;
}

// Soon, and not when it is needed: that may be while the controller is away.
if (document.body.classList.contains("inside")) setTimeout(() => htmx().catch(() => {}), LATER);
