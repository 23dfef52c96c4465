// Charts without eval: expressions are interpreted.
import embed from "vega-embed";
import { expressionInterpreter } from "vega-interpreter";

export * as vega from "vega";
export * as vegaLite from "vega-lite";

/** Draw `spec` in `element`; nothing of it runs as code. */
export function chart(element, spec, options = {}) {
  return embed(element, spec, {
    ast: true,
    expr: expressionInterpreter,
    actions: false,
    defaultStyle: false,
    renderer: "canvas",
    tooltip: { disableDefaultStyle: true },
    ...options,
  });
}
