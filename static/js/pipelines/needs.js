// What comes before a task, without a mouse: the same arrows as in the drawing.
import { html } from "cube/vendor/flow";
import { connect, disconnect, needsOf, ringOf, tasksOf } from "cube/pipelines/document";
import { Icon } from "cube/pipelines/pieces";
import { say } from "cube/pipelines/page";

const titleOf = (doc, key) => String(tasksOf(doc)[key]?.title || key);

export function Needs({ taskKey, doc, history, onRefused }) {
  const needs = needsOf(tasksOf(doc)[taskKey]);
  const others = Object.keys(tasksOf(doc)).filter((key) => key !== taskKey && !needs.includes(key));
  const add = (event) => {
    const from = event.target.value;
    event.target.value = "";
    if (!from) return;
    const ring = ringOf(history.get(), from, taskKey);
    if (ring) onRefused(say("ring", { ring: ring.join(" → ") }));
    else history.commit(connect(history.get(), from, taskKey));
  };
  const remove = (from) => history.commit(disconnect(history.get(), [[from, taskKey]]));

  return html`<div class="field">
    <label for="task-needs">${say("needs")}</label>
    ${needs.length > 0 && html`<ul class="chips flow-needs">${needs.map((need) => html`<li class="chip" key=${need}>${titleOf(doc, need)}
      <button type="button" class="chip-remove" aria-label=${say("remove_need", { title: titleOf(doc, need) })} onClick=${() => remove(need)}><${Icon} name="x" /></button></li>`)}</ul>`}
    ${others.length > 0 && html`<select id="task-needs" onChange=${add}>
      <option value="">${say(needs.length ? "add_need" : "no_needs")}</option>
      ${others.map((key) => html`<option value=${key} key=${key}>${titleOf(doc, key)}</option>`)}
    </select>`}
  </div>`;
}
