// The search language for the editor: colours and completion, both made from what the controller says there is.
import { HighlightStyle, StreamLanguage, autocompletion, syntaxHighlighting, tags } from "../../vendor/codemirror.js";

const WORD = /[\w.:{}@-]/;
const NAME = /^[A-Za-z_][\w.]*$/;

/** A `StreamLanguage` that knows the catalogue's commands and functions. */
export function language(catalogue) {
  const commands = new Set(catalogue.commands.map((c) => c.name));
  const functions = new Set([...catalogue.functions, ...catalogue.aggregates].map((f) => f.name));
  const keywords = new Set(catalogue.keywords.map((k) => k.toLowerCase()));
  return StreamLanguage.define({
    name: "search",
    startState: () => ({ command: false, comment: false }),
    copyState: (state) => ({ ...state }),
    token(stream, state) {
      if (state.comment || stream.match("```")) {
        state.comment = !stream.skipTo("```");
        if (state.comment) stream.skipToEnd();
        else stream.match("```");
        return "comment";
      }
      if (stream.eatSpace()) return null;
      const next = stream.next();
      if (next === "|" || next === "[") {
        state.command = true;
        return "pipe";
      }
      const first = state.command;
      state.command = false;
      if (next === '"' || next === "'") {
        for (let escaped = false; !stream.eol(); ) {
          const letter = stream.next();
          if (letter === next && !escaped) break;
          escaped = letter === "\\" && !escaped;
        }
        return next === '"' ? "string" : "field";
      }
      if (/\d/.test(next) || (/[+-]/.test(next) && /\d/.test(stream.peek() || ""))) {
        stream.eatWhile(/[\w.@]/);
        return "number";
      }
      if (/[A-Za-z_]/.test(next)) {
        stream.eatWhile(WORD);
        const word = stream.current();
        if (first) return commands.has(word) ? "command" : "wrong";
        const after = stream.peek();
        if (after === "(") return functions.has(word) ? "function" : "variable";
        if (after === "=") return "option";
        return keywords.has(word.toLowerCase()) ? "keyword" : null;
      }
      return /[=<>!+\-*/%,()]/.test(next) ? "operator" : null;
    },
    tokenTable: {
      pipe: tags.controlOperator,
      command: tags.keyword,
      wrong: tags.invalid,
      function: tags.function(tags.variableName),
      option: tags.propertyName,
      keyword: tags.operatorKeyword,
      field: tags.variableName,
      variable: tags.name,
      string: tags.string,
      number: tags.number,
      comment: tags.comment,
      operator: tags.operator,
    },
  });
}

export const colours = syntaxHighlighting(
  HighlightStyle.define([
    { tag: tags.keyword, class: "tok-command" },
    { tag: tags.controlOperator, class: "tok-pipe" },
    { tag: tags.function(tags.variableName), class: "tok-function" },
    { tag: tags.propertyName, class: "tok-option" },
    { tag: tags.operatorKeyword, class: "tok-keyword" },
    { tag: tags.variableName, class: "tok-field" },
    { tag: tags.string, class: "tok-string" },
    { tag: tags.number, class: "tok-number" },
    { tag: tags.comment, class: "tok-comment" },
    { tag: tags.operator, class: "tok-operator" },
    { tag: tags.invalid, class: "tok-wrong" },
  ]),
);

/** Completion from the catalogue; `fields()` gives the fields of the result on the page, first of all. */
export function completion(catalogue, fields) {
  return autocompletion({ override: [(context) => complete(catalogue, context, fields())], icons: false, maxRenderedOptions: 80 });
}

/** What can be written at the cursor. */
export function complete(catalogue, context, fields = []) {
  const before = context.state.doc.sliceString(0, context.pos);
  const word = /[^\s|,()=[\]"'<>!]*$/.exec(before)[0];
  if (!word && !context.explicit && !/[|=(,]\s?$|\b(by|BY|from|into)\s$/.test(before)) return null;
  const piece = before.slice(lastPipe(before));
  const from = context.pos - word.length;
  const given = (options) => (options.length ? { from, options, validFor: /^[^\s|,()=[\]"'<>!]*$/ } : null);
  const named = /^\s*([A-Za-z_]\w*)\s/.exec(piece);
  if (!named && piece !== before) return given(catalogue.commands.map(command));
  const name = named && piece !== before ? named[1] : "search";
  const known = catalogue.commands.find((c) => c.name === name);
  const option = /(\w+)\s*=\s*"?$/.exec(piece.slice(0, piece.length - word.length));
  if (option && option[1] === "index") return given(catalogue.indexes.map((i) => ({ label: i.name, type: "index", detail: "index" })));
  if (option && option[1] === "sourcetype") return given(sourcetypes(catalogue, before));
  return given([...arguments_(catalogue, name, known, piece), ...fieldsOf(catalogue, before, fields)]);
}

function arguments_(catalogue, name, known, piece) {
  const found = [];
  if (["inputlookup", "lookup", "outputlookup"].includes(name)) {
    found.push(...catalogue.lookups.map((l) => ({ label: l.name, type: "lookup", detail: "lookup", boost: 20 })));
  }
  if (["apply", "summary", "deletemodel", "fit"].includes(name)) {
    found.push(...catalogue.models.map((m) => ({ label: m.name, type: "model", detail: m.target || "model", boost: 20 })));
  }
  if (known?.aggregates) found.push(...catalogue.aggregates.map((a) => ({ label: a.name, type: "function", info: text(a.help), apply: call, boost: 5 })));
  if (known?.evaluates || piece.includes("eval(")) {
    found.push(...catalogue.functions.map((f) => ({ label: f.name, type: "function", detail: f.signature.slice(f.name.length), info: text(f.help), apply: call })));
  }
  if (name === "search") found.push(...["index=", "sourcetype=", "source=", "host=", "earliest=", "latest="].map(asOption));
  found.push(...(known?.options || []).map((o) => asOption(`${o}=`)));
  found.push(...catalogue.keywords.map((k) => ({ label: k, type: "keyword", boost: -20 })));
  return found;
}

const asOption = (label) => ({ label, type: "option", detail: "option", boost: 10 });
const text = (words) => () => document.createTextNode(words);
const command = (c) => ({ label: c.name, type: "command", detail: c.help.slice(0, 60), info: text(c.usage), apply: `${c.name} ` });

function call(view, completion, from, to) {
  view.dispatch({ changes: { from, to, insert: `${completion.label}()` }, selection: { anchor: from + completion.label.length + 1 } });
}

function fieldsOf(catalogue, before, fields) {
  const names = new Map(fields.map((name) => [name, "in the result"]));
  const asked = new Set([...before.matchAll(/\bindex\s*=\s*"?([\w-]+)/g)].map((m) => m[1]));
  for (const index of catalogue.indexes) {
    if (asked.size && !asked.has(index.name)) continue;
    for (const name of index.fields) if (!names.has(name)) names.set(name, index.name);
  }
  for (const lookup of catalogue.lookups) {
    if (!before.includes(lookup.name)) continue;
    for (const name of lookup.fields) if (!names.has(name)) names.set(name, lookup.name);
  }
  return [...names].map(([name, place]) => ({ label: name, type: "field", detail: place, apply: NAME.test(name) ? name : `'${name}'` }));
}

function sourcetypes(catalogue, before) {
  const asked = /\bindex\s*=\s*"?([\w-]+)/.exec(before)?.[1];
  const found = catalogue.indexes.filter((i) => !asked || i.name === asked).flatMap((i) => i.sourcetypes);
  return [...new Set(found)].map((name) => ({ label: name, type: "value", detail: "sourcetype", apply: /^[\w-]+$/.test(name) ? name : `"${name}"` }));
}

/** Where the last command begins: after the last `|` or `[` outside quotes. */
function lastPipe(before) {
  let at = 0;
  for (const match of before.matchAll(/"(?:[^"\\]|\\.)*"?|[|[]/gs)) if (match[0][0] !== '"') at = match.index + match[0].length;
  return at;
}
