// Small drawn things that several parts share.
import { html } from "cube/vendor/flow";
import { iconUrl } from "cube/pipelines/page";

export const Icon = ({ name, big = false }) => html`<svg class=${big ? "i i-lg" : "i"} aria-hidden="true"><use href=${iconUrl(name)} /></svg>`;

/** A button with an icon alone; `keys` are shown with its name. */
export function IconButton({ name, label, keys = "", onClick, disabled = false, pressed }) {
  const title = keys ? `${label} (${keys})` : label;
  return html`<button type="button" class="icon-button" aria-label=${label} title=${title} disabled=${disabled}
    aria-pressed=${pressed === undefined ? undefined : String(pressed)} onClick=${onClick}><${Icon} name=${name} /></button>`;
}

export const Errors = ({ messages = [] }) => (messages.length
  ? html`<ul class="field-errors">${messages.map((message) => html`<li><${Icon} name="alert-circle" />${message}</li>`)}</ul>`
  : null);
