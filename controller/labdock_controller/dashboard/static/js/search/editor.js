// The search editor: CodeMirror with our language, the history under the arrow keys, and the error where it is.
import {
  Compartment, EditorState, EditorView, Prec, bracketMatching, closeBrackets, closeBracketsKeymap, completionKeymap,
  completionStatus, defaultKeymap, drawSelection, history, historyKeymap, keymap, placeholder, setDiagnostics,
} from "../../vendor/codemirror.js";
import { colours, completion, language } from "./language.js";

const closeList = completionKeymap.find((binding) => binding.key === "Escape").run;
const NOTHING = { commands: [], functions: [], aggregates: [], keywords: [], indexes: [], lookups: [], models: [] };

/** An editor in `parent`. `run()` is called for Ctrl+Enter and Enter on a single line; `past()` gives earlier searches. */
export function editor(parent, { text, run, past, fields, changed }) {
  const words = new Compartment();
  const nonce = document.querySelector("meta[name=csp-nonce]")?.content || "";
  let at = -1;
  let draft = "";

  const older = (view, step) => {
    const line = view.state.doc.lineAt(view.state.selection.main.head);
    if (completionStatus(view.state) !== null || (step > 0 ? line.number > 1 : line.number < view.state.doc.lines)) return false;
    const searches = past();
    const next = Math.min(Math.max(at + step, -1), searches.length - 1);
    if (next === at) return searches.length > 0 && at >= 0;
    if (at === -1) draft = view.state.doc.toString();
    at = next;
    made.set(at === -1 ? draft : searches[at].search, { keep: true });
    return true;
  };

  const keys = [
    { key: "Mod-Enter", run: () => (made.close(), run(), true) },
    { key: "ArrowUp", run: (view) => older(view, 1) },
    { key: "ArrowDown", run: (view) => older(view, -1) },
    { key: "Alt-ArrowUp", run: (view) => older(view, 1) },
    { key: "Escape", run: (view) => (view.contentDOM.blur(), true) },
  ];
  const view = new EditorView({
    parent,
    state: EditorState.create({
      doc: text,
      extensions: [
        EditorView.cspNonce.of(nonce),
        Prec.high(keymap.of(completionKeymap)),
        keymap.of(keys),
        keymap.of([...closeBracketsKeymap, ...historyKeymap, ...defaultKeymap]),
        history(), drawSelection(), bracketMatching(), closeBrackets(), EditorView.lineWrapping, colours,
        placeholder("Search, such as  index=main | stats count by host"),
        // Left to itself, Chromium keeps the look of replaced text in a style attribute, which the page's policy refuses.
        EditorView.domEventHandlers({
          beforeinput(event, target) {
            if (event.inputType !== "insertText" || !event.data || target.state.selection.main.empty) return false;
            event.preventDefault();
            target.dispatch({ ...target.state.replaceSelection(event.data), userEvent: "input.type" });
            return true;
          },
        }),
        EditorView.contentAttributes.of({ "aria-label": "Search", "aria-multiline": "true", spellcheck: "false" }),
        words.of([language(NOTHING)]),
        EditorView.updateListener.of((update) => {
          if (!update.docChanged) return;
          if (!update.transactions.some((t) => t.isUserEvent("history.past"))) at = -1;
          changed?.();
        }),
      ],
    }),
  });

  const made = {
    view,
    get text() {
      return view.state.doc.toString();
    },
    /** Replace the search; the cursor goes to its end. */
    set(search, { keep = false } = {}) {
      view.dispatch({
        changes: { from: 0, to: view.state.doc.length, insert: search },
        selection: { anchor: search.length },
        userEvent: keep ? "history.past" : "input",
        scrollIntoView: true,
      });
      made.underline(null);
    },
    learn(catalogue) {
      view.dispatch({ effects: words.reconfigure([language(catalogue), completion(catalogue, fields)]) });
    },
    /** Mark what an error is about, by its position and length; null takes the mark away. */
    underline(problem) {
      const length = view.state.doc.length;
      const position = Number(problem?.details?.position);
      if (!problem || !Number.isFinite(position)) {
        view.dispatch(setDiagnostics(view.state, []));
        return;
      }
      const from = Math.min(position, Math.max(length - 1, 0));
      const to = Math.min(Math.max(from + Number(problem.details.length || 1), from + 1), length);
      const message = [problem.message, problem.remedy].filter(Boolean).join(" ");
      view.dispatch(setDiagnostics(view.state, [{ from, to, severity: "error", message }]));
    },
    /** Close the list of completions. */
    close: () => closeList(view),
    focus: () => view.focus(),
  };
  return made;
}
