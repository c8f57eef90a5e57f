// Pure functions over a pipeline's document: { params, parallelism, tasks: { key: task } }. None changes what it is given.

export const KEY = /^[a-z][a-z0-9_]{0,39}$/;
export const tasksOf = (doc) => doc.tasks ?? {};
export const hasTask = (doc, key) => Object.hasOwn(tasksOf(doc), key);  // "constructor" is in every object

const withTasks = (doc, tasks) => ({ ...doc, tasks });
const without = (object, ...names) => Object.fromEntries(Object.entries(object).filter(([name]) => !names.includes(name)));

/** A key that is still free, made of words: "Train a model" becomes train_a_model, then train_a_model_2. */
export function freeKey(doc, words) {
  const base = words.toLowerCase().replace(/[^a-z0-9]+/g, "_").replace(/^[^a-z]+|_+$/g, "").slice(0, 36) || "task";
  for (let number = 1; ; number += 1) {
    const key = number === 1 ? base : `${base}_${number}`;
    if (!hasTask(doc, key)) return key;
  }
}

export const addTask = (doc, key, task) => withTasks(doc, { ...tasksOf(doc), [key]: task });

/** Other fields of one task: { title: "…" }; what is undefined is taken away. */
export function changeTask(doc, key, fields) {
  const merged = Object.entries({ ...tasksOf(doc)[key], ...fields }).filter(([, value]) => value !== undefined);
  return withTasks(doc, { ...tasksOf(doc), [key]: Object.fromEntries(merged) });
}

export function removeTasks(doc, keys) {
  const gone = new Set(keys);
  const left = Object.entries(tasksOf(doc)).filter(([key]) => !gone.has(key));
  return withTasks(doc, Object.fromEntries(left.map(([key, task]) => [key, withNeeds(task, needsOf(task).filter((need) => !gone.has(need)))])));
}

/** The same task under another key; the needs of others follow. Expressions are left: the check names those that broke. */
export function renameTask(doc, from, to) {
  const renamed = Object.entries(tasksOf(doc)).map(([key, task]) => [
    key === from ? to : key,
    withNeeds(task, needsOf(task).map((need) => (need === from ? to : need))),
  ]);
  return withTasks(doc, Object.fromEntries(renamed));
}

/** Where tasks stand, { key: { x, y } }, in whole pixels. */
export function move(doc, places) {
  const moved = Object.entries(tasksOf(doc)).map(([key, task]) => {
    const place = places[key];
    if (!place) return [key, task];
    return [key, { ...task, position: { x: Math.round(place.x), y: Math.round(place.y) } }];
  });
  return withTasks(doc, Object.fromEntries(moved));
}

// ---- Needs ----

export const needsOf = (task) => (Array.isArray(task?.needs) ? task.needs : []);

function withNeeds(task, needs) {
  const before = needsOf(task);
  if (needs.length === before.length && needs.every((need, index) => need === before[index])) return task;
  return needs.length ? { ...task, needs } : without(task, "needs");
}

/** The slug of a task's template; a document may hold anything. */
export const slugOf = (task) => (typeof task.template === "string" ? task.template.split("@")[0] : "");

export function connect(doc, from, to) {
  const task = tasksOf(doc)[to];
  if (needsOf(task).includes(from)) return doc;
  return withTasks(doc, { ...tasksOf(doc), [to]: withNeeds(task, [...needsOf(task), from]) });
}

export function disconnect(doc, pairs) {
  const tasks = { ...tasksOf(doc) };
  for (const [from, to] of pairs) {
    if (tasks[to]) tasks[to] = withNeeds(tasks[to], needsOf(tasks[to]).filter((need) => need !== from));
  }
  return withTasks(doc, tasks);
}

export function pairsOf(doc) {
  const tasks = tasksOf(doc);
  return Object.entries(tasks).flatMap(([to, task]) => needsOf(task).filter((from) => Object.hasOwn(tasks, from)).map((from) => [from, to]));
}

/** The ring that an arrow `from` → `to` would close, as keys ["a", "b", "a"], or null. */
export function ringOf(doc, from, to) {
  if (from === to) return [from, to];
  const cameFrom = new Map([[from, null]]);
  const waiting = [from];
  while (waiting.length) {
    const key = waiting.pop();
    for (const need of needsOf(tasksOf(doc)[key])) {
      if (cameFrom.has(need)) continue;
      cameFrom.set(need, key);
      if (need === to) return trail(cameFrom, to, from);
      waiting.push(need);
    }
  }
  return null;
}

function trail(cameFrom, start, end) {
  const ring = [start];
  while (ring.at(-1) !== end) ring.push(cameFrom.get(ring.at(-1)));
  return [...ring, start];
}

// ---- Copy and paste ----

/** The chosen tasks as a document of their own, for the clipboard. */
export const copyTasks = (doc, keys) => ({ tasks: Object.fromEntries(keys.filter((key) => hasTask(doc, key)).map((key) => [key, tasksOf(doc)[key]])) });

/** [document, new keys]: copies under free keys; arrows among them are kept, those from outside too where they lead somewhere. */
export function pasteTasks(doc, copied, by = 40) {
  const keys = new Map();
  let grown = doc;
  for (const key of Object.keys(copied.tasks)) {
    keys.set(key, freeKey(grown, key));
    grown = addTask(grown, keys.get(key), {});
  }
  for (const [key, task] of Object.entries(copied.tasks)) {
    const needs = needsOf(task).map((need) => keys.get(need) ?? need).filter((need) => hasTask(grown, need));
    const position = task.position && { x: task.position.x + by, y: task.position.y + by };
    grown = addTask(grown, keys.get(key), withNeeds({ ...task, ...(position && { position }) }, needs));
  }
  return [grown, [...keys.values()]];
}
