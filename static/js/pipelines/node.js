// One task as a box of the graph: in the editor with its complaints, in a run with its state.
import { Handle, Position, html, memo } from "cube/vendor/flow";
import { Icon } from "cube/pipelines/pieces";
import { say } from "cube/pipelines/page";

const isSwitchedOff = (task) => task.skip === true;

function Marks({ task, errors }) {
  return html`<span class="flow-marks">
    ${task.for_each !== undefined && html`<span title=${say("fan_out")}><${Icon} name="layers-linked" /></span>`}
    ${task.when && html`<span title=${task.when}><${Icon} name="git-branch" /></span>`}
    ${task.retries?.count > 0 && html`<span title=${say("retries")}><${Icon} name="refresh" />${task.retries.count}</span>`}
    ${isSwitchedOff(task) && html`<span title=${say("switched_off")}><${Icon} name="ban" /></span>`}
    ${errors > 0 && html`<span class="flow-errors" title=${say("errors", { n: errors })}><${Icon} name="alert-circle" />${errors}</span>`}
  </span>`;
}

const State = ({ state }) => html`<span class="flow-state" data-status=${state.status}>
  <${Icon} name=${`status-${state.status}`} /><span>${state.words}</span>
</span>`;

function Task({ id, data, selected }) {
  const { task, template, errors = 0, state, isEditable } = data;
  const classes = ["flow-task", selected && "is-chosen", isSwitchedOff(task) && "is-off", errors && "is-wrong", task.for_each !== undefined && "is-many"];
  return html`<div class=${classes.filter(Boolean).join(" ")} data-status=${state?.status}>
    <${Handle} type="target" position=${Position.Left} isConnectable=${isEditable} />
    <span class="flow-icon"><${Icon} name=${template?.icon ?? "box"} /></span>
    <span class="flow-words"><strong>${String(task.title || id)}</strong>
      ${state ? html`<${State} state=${state} />` : html`<small>${template?.name ?? String(task.template ?? "")}</small>`}</span>
    <${Marks} task=${task} errors=${errors} />
    <${Handle} type="source" position=${Position.Right} isConnectable=${isEditable} />
  </div>`;
}

export const nodeTypes = { task: memo(Task) };
