// Keeps the document, its YAML and what is wrong with it in step: the server reads, writes and judges; this asks it.
import { useEffect, useRef, useState } from "cube/vendor/flow";
import { settled } from "cube/pipelines/layout";
import { postJson } from "cube/pipelines/server";

const AFTER_MS = 350;
const READ = { text: null, problems: [] };

/** Asks, and drops every answer but that to the newest question. */
function useQuestion(url, onLost) {
  const turn = useRef(0);
  return async (body) => {
    const mine = (turn.current += 1);
    const answer = await postJson(url, body).catch(onLost);
    return mine === turn.current && answer?.ok ? answer.body : null;
  };
}

/** { yaml, errors, problems, settle, onType, discard }: `problems` say why what was typed as YAML is no document. */
export function useChecking({ history, doc, url, onLost }) {
  const [told, setTold] = useState({ yaml: "", errors: {} });
  const [typed, setTyped] = useState(READ);
  const fromYaml = useRef(null);  // the document that came from what is typed: its text is there already
  const timer = useRef(null);
  const ask = useQuestion(url, onLost);
  const soon = (act) => {
    clearTimeout(timer.current);
    timer.current = setTimeout(act, AFTER_MS);
  };

  async function check() {
    const answer = await ask({ graph: history.get() });
    if (!answer) return;
    setTold(answer);
    setTyped(READ);
  }

  async function readYaml(text) {
    const answer = await ask({ yaml: text });
    if (!answer) return false;
    if (!answer.graph) {
      setTyped({ text, problems: Object.values(answer.errors).flat() });
      return false;
    }
    fromYaml.current = settled(answer.graph);
    setTold({ yaml: text, errors: answer.errors });
    setTyped(READ);
    history.commit(fromYaml.current, "yaml");
    return true;
  }

  /** What was typed is in the document. False when it cannot be. */
  async function settle() {
    clearTimeout(timer.current);
    return typed.text === null || readYaml(typed.text);
  }

  const isFirst = useRef(true);
  useEffect(() => {
    if (isFirst.current) check();
    else if (fromYaml.current !== doc) soon(check);
    isFirst.current = false;
  }, [doc]);
  useEffect(() => () => clearTimeout(timer.current), []);

  return {
    ...told,
    yaml: typed.text ?? told.yaml,
    problems: typed.problems,
    settle,
    onType(text) {
      setTyped((now) => ({ ...now, text }));
      soon(() => readYaml(text));
    },
    discard: check,
  };
}
