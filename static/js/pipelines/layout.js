// Where tasks stand: what the document says, else as dagre lays a graph out.
import { dagre } from "cube/vendor/flow";
import { move, pairsOf, tasksOf } from "cube/pipelines/document";

export const NODE = { width: 192, height: 60 };
const HANDLE = { y: 24.5, width: 11, height: 11 };
/** Where arrows start and end, from a box's corner, as pipelines.css draws them. React Flow measures handles by itself;
 * but a box that changes before it was measured is then never measured, and no arrow can be drawn from it. */
export const HANDLES = [
  { ...HANDLE, type: "target", position: "left", x: -4.5 },
  { ...HANDLE, type: "source", position: "right", x: 185.5 },
];
const GAPS = { rankdir: "LR", nodesep: 28, ranksep: 56, marginx: 20, marginy: 20 };

const MOST_FOR_DAGRE = 600;  // its time grows much faster than the graph

/** { key: { x, y } } of every task, left to right. */
export function layOut(doc) {
  if (Object.keys(tasksOf(doc)).length > MOST_FOR_DAGRE) return inColumns(doc);
  try {
    return byDagre(doc);
  } catch {
    return inColumns(doc);  // It trips over keys such as "constructor", which anybody may type as YAML.
  }
}

function byDagre(doc) {
  const graph = new dagre.graphlib.Graph();
  graph.setGraph(GAPS);
  graph.setDefaultEdgeLabel(() => ({}));
  Object.keys(tasksOf(doc)).forEach((key) => graph.setNode(key, { ...NODE }));
  pairsOf(doc).forEach(([from, to]) => graph.setEdge(from, to));
  dagre.layout(graph);
  return Object.fromEntries(graph.nodes().map((key) => {
    const { x, y } = graph.node(key);
    return [key, { x: Math.round(x - NODE.width / 2), y: Math.round(y - NODE.height / 2) }];
  }));
}

/** Each task one column right of the last it needs, in linear time; what is in a ring stands in the first column. */
function inColumns(doc) {
  const tasks = tasksOf(doc);
  const [column, missing, behind] = [0, 1, 2].map(() => Object.create(null));
  Object.keys(tasks).forEach((key) => { [column[key], missing[key], behind[key]] = [0, 0, []]; });
  pairsOf(doc).forEach(([from, to]) => { missing[to] += 1; behind[from].push(to); });
  const ready = Object.keys(tasks).filter((key) => !missing[key]);
  for (let at = 0; at < ready.length; at += 1) {
    for (const to of behind[ready[at]]) {
      column[to] = Math.max(column[to], column[ready[at]] + 1);
      missing[to] -= 1;
      if (!missing[to]) ready.push(to);
    }
  }
  const heights = [];
  return Object.fromEntries(Object.keys(tasks).map((key) => {
    const row = heights[column[key]] ?? 0;
    heights[column[key]] = row + 1;
    return [key, { x: column[key] * (NODE.width + GAPS.ranksep), y: row * (NODE.height + GAPS.nodesep) }];
  }));
}

const hasPlace = (task) => Number.isFinite(task?.position?.x) && Number.isFinite(task?.position?.y);

/** The places of the document; when it says none for some task, all are laid out anew, so that none lie on others. */
export function placesOf(doc) {
  const tasks = Object.entries(tasksOf(doc));
  if (!tasks.every(([, task]) => hasPlace(task))) return layOut(doc);
  return Object.fromEntries(tasks.map(([key, task]) => [key, task.position]));
}

/** The document with a place for every task. */
export const settled = (doc) => move(doc, placesOf(doc));
