// What the editor can do with tasks and arrows: each is one step that can be undone.
import { useCallback, useMemo, useState } from "cube/vendor/flow";
import { FIT, TEMPLATE, pairOf } from "cube/pipelines/canvas";
import { addTask, copyTasks, disconnect, freeKey, hasTask, move, pasteTasks, removeTasks, tasksOf } from "cube/pipelines/document";
import { NODE, layOut } from "cube/pipelines/layout";

const NONE = new Set();
const STEP = NODE.height + 28;

export function useEditing({ history, flow, templates }) {
  const [chosen, choose] = useState(NONE);
  const [edgesChosen, chooseEdges] = useState(NONE);
  const commit = useCallback((change, name) => history.commit(change(history.get()), name), []);

  const verbs = useMemo(() => {
    const only = (...keys) => { choose(new Set(keys)); chooseEdges(NONE); };

    function place(template, position) {
      const now = history.get();
      const key = freeKey(now, template.slug);
      history.commit(addTask(now, key, { template: `${template.slug}@${template.number}`, params: template.params, position }));
      only(key);
    }

    /** Below what lies lowest in view, so that nothing is covered. */
    function freePlace() {
      const box = document.querySelector("[data-flow-canvas]").getBoundingClientRect();
      const { x, y } = flow.current.screenToFlowPosition({ x: box.left + box.width / 2 - NODE.width / 2, y: box.top + box.height / 3 });
      const taken = Object.values(tasksOf(history.get())).map((task) => task.position ?? { x: 0, y: 0 });
      let free = { x: Math.round(x), y: Math.round(y) };
      while (taken.some((other) => Math.abs(other.x - free.x) < NODE.width && Math.abs(other.y - free.y) < STEP)) free = { ...free, y: free.y + STEP };
      return free;
    }

    return {
      add: (template) => place(template, freePlace()),
      drop(event) {
        const template = templates.get(event.dataTransfer.getData(TEMPLATE));
        if (!template) return;
        event.preventDefault();
        const { x, y } = flow.current.screenToFlowPosition({ x: event.clientX, y: event.clientY });
        place(template, { x: Math.round(x - NODE.width / 2), y: Math.round(y - NODE.height / 2) });
      },
      undo: () => history.undo(),
      redo: () => history.redo(),
      layout() {
        commit((now) => move(now, layOut(now)));
        setTimeout(() => flow.current.fitView(FIT));
      },
      paste(copied) {
        const [doc, keys] = pasteTasks(history.get(), copied);
        history.commit(doc);
        only(...keys);
      },
      all: () => only(...Object.keys(tasksOf(history.get()))),
      none: () => only(),
    };
  }, []);

  const keysChosen = () => [...chosen].filter((key) => hasTask(history.get(), key));
  return {
    ...verbs, chosen, choose, edgesChosen, chooseEdges, commit,
    remove() {
      commit((now) => disconnect(removeTasks(now, keysChosen()), [...edgesChosen].map(pairOf)));
      verbs.none();
    },
    copied: () => (keysChosen().length ? copyTasks(history.get(), keysChosen()) : null),
    duplicate() {
      if (keysChosen().length) verbs.paste(copyTasks(history.get(), keysChosen()));
    },
  };
}
