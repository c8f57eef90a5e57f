// The graph of a run: the editor's boxes with their states, nothing in it can be changed.
import { Background, Controls, MarkerType, MiniMap, ReactFlow, html, useCallback, useEffect, useMemo, useRef, useState } from "cube/vendor/flow";
import { FIT, edgeId, lookOf, nodesOf } from "cube/pipelines/canvas";
import { pairsOf, tasksOf } from "cube/pipelines/document";
import { settled } from "cube/pipelines/layout";
import { nodeTypes } from "cube/pipelines/node";

const ARROW = { type: MarkerType.ArrowClosed, width: 16, height: 16 };
const NOBODY = new Set();
const MAP_FROM = 12;  // fewer tasks are seen at once

/** States as objects that stay the same while they say the same, so that only what changed is drawn. */
function useSteady(states) {
  const [kept] = useState(() => new Map());
  return useMemo(() => Object.fromEntries(Object.entries(states).map(([key, state]) => {
    const old = kept.get(key);
    if (!old || old.status !== state.status || old.words !== state.words) kept.set(key, state);
    return [key, kept.get(key)];
  })), [states]);
}

/** The whole graph stays in view when the panel beside it opens or closes. */
function useFitting(box, flow, isWanted) {
  useEffect(() => {
    if (!isWanted) return undefined;
    let width = box.current.clientWidth;
    const watcher = new ResizeObserver(() => {
      if (box.current && Math.abs(box.current.clientWidth - width) > 20) flow.current?.fitView(FIT);
      width = box.current?.clientWidth ?? width;
    });
    watcher.observe(box.current);
    return () => watcher.disconnect();
  }, []);
}

export function RunGraph({ graph, templates, states, onOpen }) {
  const doc = useMemo(() => settled(graph), [graph]);
  const known = useMemo(() => new Map(templates.map((template) => [template.slug, template])), [templates]);
  const steady = useSteady(states);
  const [box, flow] = [useRef(null), useRef(null)];
  const [drawing] = useState(() => lookOf(doc));
  useFitting(box, flow, drawing.fitView);
  const [nodes, setNodes] = useState([]);
  useEffect(() => setNodes((before) => nodesOf(doc, before, { templates: known, states: steady, chosen: NOBODY, isEditable: false })), [doc, steady]);
  const edges = useMemo(() => pairsOf(doc).map(([source, target]) => ({
    id: edgeId(source, target), source, target, markerEnd: ARROW, focusable: false, animated: states[target]?.status === "running",
  })), [doc, steady]);
  const open = useCallback((_event, node) => onOpen(node.id), [onOpen]);
  const openByKey = useCallback((event) => {
    const id = event.target.closest?.(".react-flow__node")?.dataset.id;
    if (!id || (event.key !== "Enter" && event.key !== " ")) return;
    event.preventDefault();
    onOpen(id);
  }, [onOpen]);

  return html`<div class="run-graph" ref=${box} onKeyDown=${openByKey}><${ReactFlow} onInit=${(instance) => { flow.current = instance; }} nodes=${nodes} edges=${edges} nodeTypes=${nodeTypes} onNodeClick=${open}
    nodesDraggable=${false} nodesConnectable=${false} elementsSelectable=${false} nodesFocusable deleteKeyCode=${null} preventScrolling=${false} ...${drawing}>
    <${Background} gap=${20} /><${Controls} showInteractive=${false} />
    ${Object.keys(tasksOf(doc)).length > MAP_FROM && html`<${MiniMap} pannable zoomable />`}
  <//></div>`;
}
