// The drawing: boxes and arrows of the document, moved, joined and chosen. What is dragged lives here until it is let go.
import {
  Background, Controls, MarkerType, MiniMap, ReactFlow, SelectionMode, applyNodeChanges, html, useCallback, useEffect, useMemo, useState,
} from "cube/vendor/flow";
import { connect, move, pairsOf, ringOf, slugOf, tasksOf } from "cube/pipelines/document";
import { HANDLES, NODE } from "cube/pipelines/layout";
import { nodeTypes } from "cube/pipelines/node";
import { say } from "cube/pipelines/page";

export const TEMPLATE = "application/x-cube-template";  // what a palette entry carries while it is dragged
const ARROW = { type: MarkerType.ArrowClosed, width: 16, height: 16 };
const START = { x: 0, y: 0 };
const MANY_BOXES = 400;  // from here on only those in view are drawn
const MANY_ARROWS = 150;  // from here on each gets no wider, invisible twin to click at: with those, dragging all stutters
const SEVERAL = ["Shift", "Control", "Meta"];
const ARIA = {
  "node.a11yDescription.default": say("node_help"),
  "node.a11yDescription.keyboardDisabled": say("node_help"),
  "edge.a11yDescription.default": say("edge_help"),
  "controls.ariaLabel": say("controls"),
  "controls.zoomIn.ariaLabel": say("zoom_in"),
  "controls.zoomOut.ariaLabel": say("zoom_out"),
  "controls.fitView.ariaLabel": say("fit"),
  "minimap.ariaLabel": say("map"),
  "handle.ariaLabel": say("handle"),
};
export const FIT = { maxZoom: 1, padding: 0.15 };
/** What the editor's and the run's drawings share; made once, so that no drawing is a change to React Flow. */
const LOOK = { minZoom: 0.1, maxZoom: 2, fitView: true, fitViewOptions: FIT, proOptions: { hideAttribution: true }, ariaLabelConfig: ARIA };
/** The same, near enough to read: a graph that nobody can overlook is drawn where one looks. */
const NEAR = { ...LOOK, fitView: false, defaultViewport: { x: 24, y: 24, zoom: 0.7 }, onlyRenderVisibleElements: true };
export const lookOf = (doc) => (Object.keys(tasksOf(doc)).length > MANY_BOXES ? NEAR : LOOK);
export const edgeId = (from, to) => `${from}>${to}`;
export const pairOf = (id) => id.split(">");

/** The boxes of a document. Those of before are kept where nothing about them changed: drawing is what costs. */
export function nodesOf(doc, before, { templates, counts = {}, states = {}, chosen, isEditable }) {
  const known = new Map(before.map((node) => [node.id, node]));
  return Object.entries(tasksOf(doc)).map(([key, task]) => {
    const old = known.get(key);
    const data = { task, template: templates.get(slugOf(task)), errors: counts[key] ?? 0, state: states[key], isEditable };
    const selected = chosen.has(key);
    if (old && old.selected === selected && samePlace(old.position, task.position ?? START) && looksTheSame(old.data, data)) return old;
    return { ...(old ?? { id: key, type: "task", ...NODE, ...(isEditable && { handles: HANDLES }) }), id: key, position: task.position ?? START, data, selected, ariaLabel: say("task_box", { title: task.title || key, template: slugOf(task) }) };
  });
}

const looksTheSame = (a, b) => sameButPlace(a.task, b.task) && ["template", "errors", "state", "isEditable"].every((name) => a[name] === b[name]);

/** A box draws nothing of where it stands, so what was only moved is not drawn again. */
function sameButPlace(a, b) {
  if (a === b) return true;
  const names = Object.keys(b);
  return names.length === Object.keys(a).length && names.every((name) => name === "position" || a[name] === b[name]);
}

const samePlace = (a, b) => a && b && Math.round(a.x) === Math.round(b.x) && Math.round(a.y) === Math.round(b.y);

function useNodes(doc, commit, more, onChoose) {
  const [nodes, setNodes] = useState([]);
  const { templates, counts, chosen } = more;
  useEffect(() => setNodes((before) => nodesOf(doc, before, { ...more, isEditable: true })), [doc, templates, counts, chosen]);

  const onNodesChange = useCallback((changes) => {
    setNodes((before) => applyNodeChanges(changes.filter(({ type }) => type !== "select" && type !== "remove"), before));
    const picked = changes.filter(({ type }) => type === "select");
    if (picked.length) onChoose((before) => pick(before, picked));
    const landed = changes.filter(({ type, dragging, position }) => type === "position" && !dragging && position);
    const places = Object.fromEntries(landed.map(({ id, position }) => [id, position]));
    commit((now) => {
      const isMoved = Object.entries(places).some(([key, place]) => !samePlace(place, tasksOf(now)[key]?.position));
      return isMoved ? move(now, places) : now;
    }, "move");
  }, [commit, onChoose]);
  return [nodes, onNodesChange];
}

function pick(before, changes) {
  const after = new Set(before);
  changes.forEach(({ id, selected }) => (selected ? after.add(id) : after.delete(id)));
  return after.size === before.size && [...after].every((id) => before.has(id)) ? before : after;
}

/** The arrows of a document, the same array while they are the same: most changes draw none. */
function usePairs(doc) {
  const [kept] = useState({ name: null, pairs: [] });
  return useMemo(() => {
    const pairs = pairsOf(doc);
    const name = pairs.map(([from, to]) => edgeId(from, to)).join();
    if (name !== kept.name) Object.assign(kept, { name, pairs });
    return kept.pairs;
  }, [doc.tasks]);
}

function useEdges(doc, chosenEdges, onChooseEdges) {
  const pairs = usePairs(doc);
  const interactionWidth = pairs.length > MANY_ARROWS ? 0 : 20;
  const edges = useMemo(() => pairs.map(([source, target]) => {
    const id = edgeId(source, target);
    return { id, source, target, markerEnd: ARROW, interactionWidth, selected: chosenEdges.has(id), ariaLabel: say("arrow", { from: source, to: target }) };
  }), [pairs, chosenEdges]);
  const onEdgesChange = useCallback((changes) => {
    const picked = changes.filter(({ type }) => type === "select");
    if (picked.length) onChooseEdges((before) => pick(before, picked));
  }, [onChooseEdges]);
  return [edges, onEdgesChange];
}

/** Says why an arrow was not drawn: the ring it would have closed, by name. */
function refuse(doc, { fromNode, toNode, fromHandle }, onRefused) {
  if (!fromNode || !toNode) return;
  const [from, to] = fromHandle.type === "source" ? [fromNode.id, toNode.id] : [toNode.id, fromNode.id];
  const ring = ringOf(doc, from, to);
  if (ring) onRefused(say("ring", { ring: ring.join(" → ") }));
}

export function Canvas({ doc, commit, look, onChoose, edgesChosen, onChooseEdges, onDropTemplate, onRefused, onReady, showMap }) {
  const [nodes, onNodesChange] = useNodes(doc, commit, look, onChoose);
  const [edges, onEdgesChange] = useEdges(doc, edgesChosen, onChooseEdges);

  const [drawing] = useState(() => lookOf(doc));
  const onConnect = useCallback(({ source, target }) => commit((now) => (ringOf(now, source, target) ? now : connect(now, source, target))), [commit]);
  const isValidConnection = useCallback(({ source, target }) => !ringOf(doc, source, target), [doc.tasks]);
  const onConnectEnd = useCallback((_event, end) => end.isValid || refuse(doc, end, onRefused), [doc.tasks, onRefused]);

  return html`<${ReactFlow} nodes=${nodes} edges=${edges} nodeTypes=${nodeTypes} onInit=${onReady}
    onNodesChange=${onNodesChange} onEdgesChange=${onEdgesChange}
    onConnect=${onConnect} onConnectEnd=${onConnectEnd} isValidConnection=${isValidConnection}
    onDragOver=${(event) => { if (event.dataTransfer.types.includes(TEMPLATE)) event.preventDefault(); }}
    onDrop=${onDropTemplate} deleteKeyCode=${null} multiSelectionKeyCode=${SEVERAL} selectionMode=${SelectionMode.Partial}
    ...${drawing}>
    <${Background} gap=${20} />
    <${Controls} showInteractive=${false} />
    ${showMap && html`<${MiniMap} pannable zoomable ariaLabel=${say("map")} />`}
  <//>`;
}
