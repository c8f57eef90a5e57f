// The document that is being edited, with undo and redo. Everybody who shows it subscribes.
const MOST_STEPS = 200;
const SAME_STEP_MS = 800;  // typing in one field is one step

export function createHistory(initial) {
  let [past, future, now] = [[], [], initial];
  let saved = initial;
  let last = { name: "", at: 0 };
  const listeners = new Set();

  function become(doc) {
    now = doc;
    listeners.forEach((listener) => listener());
  }

  return {
    get: () => now,
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    /** `name` joins quick changes of one thing into a step: "panel train". */
    commit(doc, name = "") {
      if (doc === now) return;
      const joins = name && name === last.name && Date.now() - last.at < SAME_STEP_MS;
      if (!joins) past = [...past, now].slice(-MOST_STEPS);
      last = { name, at: Date.now() };
      future = [];
      become(doc);
    },
    undo() {
      if (!past.length) return;
      future = [now, ...future];
      last = { name: "", at: 0 };
      become(past.pop());
    },
    redo() {
      if (!future.length) return;
      past = [...past, now];
      last = { name: "", at: 0 };
      become(future.shift());
    },
    canUndo: () => past.length > 0,
    canRedo: () => future.length > 0,
    /** `doc` is on the server: what was changed since is still unsaved. */
    markSaved(doc) {
      saved = doc;
      listeners.forEach((listener) => listener());
    },
    isChanged: () => now !== saved,
  };
}
