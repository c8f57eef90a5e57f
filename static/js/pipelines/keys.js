// The editor's keys. Nothing acts while somebody types in a field or a dialog is open.

const isTyping = ({ target }) => target.closest?.("input, textarea, select, [contenteditable]") || document.querySelector("dialog[open]");

/** verbs: { undo, redo, duplicate, all, save, remove, palette, layout, fit, zoomIn, zoomOut, map, yaml, help, none, open } */
export function listenToKeys(verbs) {
  const withControl = { z: "undo", y: "redo", d: "duplicate", a: "all", s: "save" };
  const plain = {
    Delete: "remove", Backspace: "remove", "/": "palette", l: "layout", f: "fit", "+": "zoomIn", "=": "zoomIn", "-": "zoomOut",
    m: "map", y: "yaml", "?": "help", Escape: "none",
  };
  function onKey(event) {
    const control = event.ctrlKey || event.metaKey;
    if (control && event.key.toLowerCase() === "s") return act(event, "save");
    if (isTyping(event) || event.altKey) return undefined;
    if (control) return act(event, event.shiftKey && event.key.toLowerCase() === "z" ? "redo" : withControl[event.key.toLowerCase()]);
    if (event.key === "Enter" && event.target.closest?.(".react-flow__node")) return act(event, "open");
    return act(event, plain[event.key] ?? plain[event.key.toLowerCase()]);
  }
  function act(event, verb) {
    if (!verb) return;
    if (verb !== "open" && verb !== "none") event.preventDefault();
    verbs[verb]?.();
  }
  addEventListener("keydown", onKey);
  return () => removeEventListener("keydown", onKey);
}

/** Copy, cut and paste go through the browser's own clipboard, so they work between pipelines and tabs. */
export function listenToClipboard({ copied, cut, pasted }) {
  const MARK = "cube/pipeline-tasks";
  const write = (event, value) => {
    if (!value || isTyping(event)) return false;
    event.clipboardData.setData("text/plain", JSON.stringify({ kind: MARK, ...value }));
    event.preventDefault();
    return true;
  };
  const onCopy = (event) => write(event, copied());
  const onCut = (event) => write(event, copied()) && cut();
  const onPaste = (event) => {
    if (isTyping(event)) return;
    const found = parse(event.clipboardData.getData("text/plain"), MARK);
    if (!found) return;
    event.preventDefault();
    pasted(found);
  };
  const pairs = [["copy", onCopy], ["cut", onCut], ["paste", onPaste]];
  pairs.forEach(([name, listener]) => document.addEventListener(name, listener));
  return () => pairs.forEach(([name, listener]) => document.removeEventListener(name, listener));
}

/** Tasks of a clipboard's text, or null: anybody may have put anything there. */
function parse(text, mark) {
  try {
    const { kind, tasks } = JSON.parse(text);
    const isSound = kind === mark && tasks && typeof tasks === "object" && Object.values(tasks).every((task) => task && typeof task === "object" && !Array.isArray(task));
    return isSound && Object.keys(tasks).length ? { tasks } : null;
  } catch {
    return null;
  }
}
