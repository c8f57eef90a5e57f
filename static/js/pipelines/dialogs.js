// What asks before it acts: saving, a conflict with somebody else's version, and the sheet of keys.
import { html, useEffect, useRef, useState } from "cube/vendor/flow";
import { Icon } from "cube/pipelines/pieces";
import { say } from "cube/pipelines/page";

function Dialog({ title, onClose, children, wide = false }) {
  const dialog = useRef(null);
  useEffect(() => { dialog.current.showModal(); }, []);
  return html`<dialog ref=${dialog} class=${wide ? "confirm flow-dialog-wide" : "confirm"} aria-label=${title} onClose=${onClose}>
    <h2>${title}</h2>${children}</dialog>`;
}

export function SaveDialog({ base, problems, onSave, onClose, busy, thenRun }) {
  const [comment, setComment] = useState("");
  const send = (event) => {
    event.preventDefault();
    onSave(comment.trim());
  };
  return html`<${Dialog} title=${say(thenRun ? "save_and_run" : "save_version", { n: base + 1 })} onClose=${onClose}>
    <form onSubmit=${send}>
      ${problems > 0 && html`<p>${say("save_with_errors", { n: problems })}</p>`}
      <div class="field"><label for="save-comment">${say("comment")}</label>
        <input id="save-comment" value=${comment} maxlength="300" autocomplete="off" placeholder=${say("comment_hint")} onInput=${(event) => setComment(event.target.value)} /></div>
      <div class="confirm-actions"><button type="button" class="btn" onClick=${onClose}>${say("cancel")}</button>
        <button class="btn btn-primary" disabled=${busy}>${say("save")}</button></div>
    </form></${Dialog}>`;
}

const asText = (value) => (value === null || value === undefined ? "–" : typeof value === "string" ? value : JSON.stringify(value));

export function Changes({ changes }) {
  if (!changes.length) return html`<p class="faint">${say("no_changes")}</p>`;
  return html`<div class="table-scroll"><table class="table flow-changes"><thead><tr><th scope="col">${say("where")}</th><th scope="col">${say("theirs")}</th><th scope="col">${say("yours")}</th></tr></thead>
    <tbody>${changes.map(({ path, before, after }) => html`<tr key=${path}><td class="mono">${path}</td><td><pre>${asText(before)}</pre></td><td><pre>${asText(after)}</pre></td></tr>`)}</tbody></table></div>`;
}

/** Somebody saved a version since this editor was opened. */
export function ConflictDialog({ conflict, onOverwrite, onTake, onClose }) {
  return html`<${Dialog} wide title=${say("conflict")} onClose=${onClose}>
    <p>${say("conflict_text", { n: conflict.number, who: conflict.author || "–", comment: conflict.comment })}</p>
    <${Changes} changes=${conflict.changes} />
    <div class="confirm-actions">
      <button type="button" class="btn" onClick=${onClose}>${say("keep_editing")}</button>
      <button type="button" class="btn" onClick=${onTake}>${say("take_theirs")}</button>
      <button type="button" class="btn btn-primary" onClick=${onOverwrite}>${say("overwrite", { n: conflict.number + 1 })}</button>
    </div></${Dialog}>`;
}

const KEYS = [
  ["/", "key_palette"], ["Tab", "key_tab"], ["Enter", "key_enter"], ["← ↑ → ↓", "key_arrows"], ["Delete", "key_delete"],
  ["Ctrl Z · Ctrl Shift Z", "key_undo"], ["Ctrl C · X · V", "key_copy"], ["Ctrl D", "key_duplicate"], ["Ctrl A", "key_all"],
  ["Ctrl S", "key_save"], ["L", "key_layout"], ["F", "key_fit"], ["+ · −", "key_zoom"], ["M", "key_map"], ["Y", "key_yaml"],
  ["Shift", "key_shift"], ["Esc", "key_escape"], ["?", "key_help"],
];

export function HelpDialog({ onClose }) {
  return html`<${Dialog} title=${say("keys")} onClose=${onClose}>
    <dl class="flow-keys">${KEYS.map(([keys, name]) => html`<div key=${name}><dt><kbd>${keys}</kbd></dt><dd>${say(name)}</dd></div>`)}</dl>
    <div class="confirm-actions"><button type="button" class="btn btn-primary" autofocus onClick=${onClose}>${say("close")}</button></div></${Dialog}>`;
}

export const Problems = ({ problems, onChoose }) => html`<details class="menu menu-end" data-menu>
  <summary class="chip flow-problems"><${Icon} name="alert-circle" />${say("problems", { n: problems.length })}</summary>
  <div class="menu-panel flow-problem-list"><ul class="menu-list">${problems.map(([path, message]) => html`<li key=${path + message}>
    <button type="button" onClick=${() => onChoose(path)}><span><span class="mono">${path}</span><br />${message}</span></button></li>`)}</ul></div>
</details>`;
