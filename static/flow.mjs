// What the pages of pipelines use of npm packages that have no ES module of their own: bundled to vendor/flow.js.
// Preact stands in for React. `html` draws: html`<p class=${name}>…</p>`.
import { h } from "preact";
import htm from "htm";

export const html = htm.bind(h);
export { render } from "preact";
export { memo, useCallback, useEffect, useMemo, useRef, useState, useSyncExternalStore } from "preact/compat";
export {
  Background, Controls, Handle, MarkerType, MiniMap, Position, ReactFlow, ReactFlowProvider, SelectionMode,
  applyNodeChanges, useReactFlow,
} from "@xyflow/react";
export { default as dagre } from "@dagrejs/dagre";
