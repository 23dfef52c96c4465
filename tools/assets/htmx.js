// htmx with idiomorph's `morph` swap: what changed is changed, focus and scroll stay.
import htmx from "htmx.org";
import { Idiomorph } from "idiomorph";

// What the browser or a module keeps on an element is not the server's to take away.
const callbacks = {
  beforeNodeMorphed: (old) => !(old instanceof Element && old.hasAttribute("data-keep")),
  beforeAttributeUpdated: (name, node) =>
    !((name === "open" && (node.tagName === "DETAILS" || node.tagName === "DIALOG")) || name === "data-live"),
};

/** Make the element `old` what `fresh` (an element or a list of nodes) is, changing only what differs. */
function morph(old, fresh, style = "outerHTML") {
  return Idiomorph.morph(old, fresh, { morphStyle: style, ignoreActiveValue: true, callbacks });
}

htmx.defineExtension("morph", {
  isInlineSwap: (style) => style === "morph" || style === "morph:outerHTML",
  handleSwap: (style, target, fragment) => {
    if (style === "morph" || style === "morph:outerHTML") return morph(target, fragment.children);
    return style === "morph:innerHTML" ? morph(target, fragment.children, "innerHTML") : undefined;
  },
});
htmx.morph = morph;
window.htmx = htmx;
