// The editor of a pipeline: palette, drawing, panel and YAML around one document. What it needs is in the page's data.
import { ReactFlowProvider, html, render, useEffect, useMemo, useRef, useState, useSyncExternalStore } from "cube/vendor/flow";
import { toast } from "cube/app";
import { Canvas, FIT } from "cube/pipelines/canvas";
import { useChecking } from "cube/pipelines/checking";
import { ConflictDialog, HelpDialog, SaveDialog } from "cube/pipelines/dialogs";
import { useEditing } from "cube/pipelines/editing";
import { countByTask } from "cube/pipelines/errors";
import { createHistory } from "cube/pipelines/history";
import { listenToClipboard, listenToKeys } from "cube/pipelines/keys";
import { settled } from "cube/pipelines/layout";
import { read, say } from "cube/pipelines/page";
import { Palette } from "cube/pipelines/palette";
import { useSaving } from "cube/pipelines/saving";
import { Side } from "cube/pipelines/side";
import { Toolbar } from "cube/pipelines/toolbar";

const page = read("pipeline-editor");
const templates = new Map(page.templates.map((template) => [template.slug, template]));
const history = createHistory(settled(page.graph));
const lost = () => toast(document.body.dataset.textOffline, "error");
const refused = (message) => toast(message, "info");

function useGuard(panel) {
  useEffect(() => {
    const hold = (event) => { if (history.isChanged() || panel.value?.isDirty) event.preventDefault(); };
    addEventListener("beforeunload", hold);
    return () => removeEventListener("beforeunload", hold);
  }, []);
}

function Editor() {
  const doc = useSyncExternalStore(history.subscribe, history.get);
  const flow = useRef(null);
  const panel = useMemo(() => ({ value: null, leaving: null }), []);
  const [tab, setTab] = useState("task");
  const [dialog, setDialog] = useState("");
  const [showMap, setShowMap] = useState(innerWidth > 760);
  const checking = useChecking({ history, doc, url: page.urls.check, onLost: lost });
  const editing = useEditing({ history, flow, templates });
  const saving = useSaving({ history, page, panel, checking, setDialog, onLost: lost });
  useGuard(panel);

  const counts = useMemo(() => countByTask(checking.errors), [checking.errors]);
  const look = useMemo(() => ({ templates, counts, chosen: editing.chosen }), [counts, editing.chosen]);
  const verbs = {
    ...editing, save: () => saving.ask(false), map: () => setShowMap((is) => !is), yaml: () => setTab((now) => (now === "yaml" ? "task" : "yaml")),
    help: () => setDialog("help"), palette: () => document.getElementById("palette-search").focus(),
    fit: () => flow.current?.fitView(FIT), zoomIn: () => flow.current?.zoomIn(), zoomOut: () => flow.current?.zoomOut(),
    open: () => { setTab("task"); setTimeout(() => document.getElementById("task-key")?.focus()); },
  };
  const newest = useRef(verbs);
  newest.current = verbs;
  useEffect(() => listenToKeys(new Proxy({}, { get: (_target, name) => newest.current[name] })), []);
  useEffect(() => listenToClipboard({ copied: () => newest.current.copied(), cut: () => newest.current.remove(), pasted: (found) => newest.current.paste(found) }), []);

  return html`<div class="flow-editor">
    <${Toolbar} page=${page} history=${history} doc=${doc} verbs=${verbs} saving=${saving} checking=${checking} showMap=${showMap} onChoose=${(path) => choosePath(path, editing, setTab)} />
    <div class="flow-work">
      <${Palette} templates=${templates} onAdd=${editing.add} />
      <div class="flow-canvas" data-flow-canvas>
        ${!Object.keys(doc.tasks ?? {}).length && html`<p class="flow-hint">${say("empty")}</p>`}
        <${Canvas} doc=${doc} commit=${editing.commit} look=${look} onChoose=${editing.choose} edgesChosen=${editing.edgesChosen} onChooseEdges=${editing.chooseEdges}
          onDropTemplate=${editing.drop} onRefused=${refused} onReady=${(instance) => { flow.current = instance; }} showMap=${showMap} />
      </div>
      <${Side} tab=${tab} setTab=${setTab} doc=${doc} history=${history} page=${page} checking=${checking} chosen=${editing.chosen} panel=${panel}
        onRenamed=${(key) => editing.choose(() => new Set([key]))} onRefused=${refused} />
    </div>
    ${dialog === "help" && html`<${HelpDialog} onClose=${() => setDialog("")} />`}
    ${(dialog === "save" || dialog === "run") && html`<${SaveDialog} base=${saving.base} problems=${0} busy=${saving.busy} thenRun=${dialog === "run"} onSave=${saving.send} onClose=${() => setDialog("")} />`}
    ${saving.conflict && html`<${ConflictDialog} conflict=${saving.conflict} onOverwrite=${saving.overwrite} onTake=${saving.takeTheirs} onClose=${saving.keepEditing} />`}
  </div>`;
}

/** A complaint in the list of the toolbar leads to what it speaks of. */
function choosePath(path, editing, setTab) {
  const key = /^tasks\.([a-z0-9_]+)/.exec(path)?.[1];
  if (key) editing.choose(() => new Set([key]));
  setTab(key ? "task" : "settings");
}

const root = document.getElementById("pipeline-editor-root");
root.replaceChildren();
render(html`<${ReactFlowProvider}><${Editor} /><//>`, root);
