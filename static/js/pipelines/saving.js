// Saving a version: on the number it was opened with, so that nobody's version is overwritten unseen.
import { useState } from "cube/vendor/flow";
import { toast } from "cube/app";
import { settled } from "cube/pipelines/layout";
import { postJson } from "cube/pipelines/server";
import { say } from "cube/pipelines/page";

export function useSaving({ history, page, panel, checking, setDialog, onLost }) {
  const [base, setBase] = useState(page.base);
  const [busy, setBusy] = useState(false);
  const [conflict, setConflict] = useState(null);
  const [asked, setAsked] = useState({ comment: "", thenRun: false });

  /** Everything typed is in the document. False when the YAML holds what nobody can read. */
  async function settle() {
    await panel.value?.flush();
    await panel.leaving;
    const isRead = await checking.settle();
    if (!isRead) toast(say("yaml_unread"), "warning");
    return isRead;
  }

  async function ask(thenRun) {
    if (!await settle()) return;
    setAsked({ comment: "", thenRun });
    if (thenRun && !history.isChanged() && base > 0) location.href = page.urls.start;
    else setDialog(thenRun ? "run" : "save");
  }

  async function send(comment, onto = base, thenRun = asked.thenRun) {
    setBusy(true);
    const doc = history.get();
    const answer = await postJson(page.urls.save, { graph: doc, comment, base: onto }).catch(onLost);
    setBusy(false);
    if (!answer) return;
    setAsked({ comment, thenRun });
    setDialog("");
    if (answer.status === 409) return setConflict(answer.body);
    if (!answer.ok) return toast(answer.status === 422 ? say("save_refused", { why: firstOf(answer.body.errors) }) : document.body.dataset.textFailed, "error");
    saved(doc, answer.body, thenRun);
  }

  function saved(doc, { number, is_new: isNew }, thenRun) {
    history.markSaved(doc);
    setBase(number);
    setConflict(null);
    toast(say(isNew ? "saved" : "unchanged", { n: number }), "success");
    if (thenRun) location.href = page.urls.start;
  }

  function takeTheirs() {
    const theirs = settled(conflict.graph);
    history.commit(theirs);
    history.markSaved(theirs);
    setBase(conflict.number);
    setConflict(null);
  }

  return {
    base, busy, conflict, ask, takeTheirs,
    send: (comment) => send(comment),
    overwrite: () => send(asked.comment, conflict.number),
    keepEditing: () => setConflict(null),
  };
}

function firstOf(errors) {
  const [path, messages] = Object.entries(errors ?? {})[0] ?? ["", [""]];
  return `${path}: ${messages[0]}`;
}
