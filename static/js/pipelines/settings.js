// What a run is asked for, and the limits of a run: the document's `params`, `parallelism` and `timeout_seconds`.
import { html, useState } from "cube/vendor/flow";
import { Errors, Icon, IconButton } from "cube/pipelines/pieces";
import { say } from "cube/pipelines/page";

const TYPES = ["string", "integer", "number", "boolean", "array"];
const NAME = /^[a-z][a-z0-9_]*$/;

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
const rowsOf = (schema) => Object.entries(schema?.properties ?? {}).filter(([, spec]) => isObject(spec));
const requiredOf = (schema) => (Array.isArray(schema?.required) ? schema.required : []);

/** The schema with one property under another name, of another kind, or gone (`spec` null). Order is kept. */
function withProperty(schema, name, to, spec) {
  const properties = rowsOf(schema).flatMap(([each, old]) => (each !== name ? [[each, old]] : spec ? [[to, spec]] : []));
  const required = requiredOf(schema).flatMap((each) => (each !== name ? [each] : spec ? [to] : []));
  return { ...schema, properties: Object.fromEntries(properties), ...(required.length ? { required } : { required: undefined }) };
}

const numberOr = (text) => (String(Number(text)) === text ? Number(text) : text);  // "1." is on its way to "1.5"

function typed(text, type) {
  if (text.trim() === "") return undefined;
  if (type === "boolean") return { true: true, false: false }[text.trim()] ?? text;
  if (type === "array") return text.split(",").map((item) => numberOr(item.trim())).filter((item) => item !== "");
  return type === "string" ? text : numberOr(text.trim());
}

const shown = (value) => (value === undefined ? "" : Array.isArray(value) ? value.join(", ") : String(value));
const itemsOf = (value) => ({ type: Array.isArray(value) && value.length && value.every(Number.isInteger) ? "integer" : Array.isArray(value) && value.length && value.every((item) => typeof item === "number") ? "number" : "string" });

/** Keeps what is being typed as it is, as long as it means what the document says. */
function DefaultField({ id, spec, onChange }) {
  const [text, setText] = useState(shown(spec.default));
  const means = JSON.stringify(typed(text, spec.type)) === JSON.stringify(spec.default);
  const take = (event) => {
    setText(event.target.value);
    onChange(typed(event.target.value, spec.type));
  };
  return html`<div class="field"><label for=${id}>${say("default")}</label>
    <input id=${id} class="mono" value=${means ? text : shown(spec.default)} spellcheck="false" autocomplete="off" placeholder=${{ boolean: "true", array: "1, 2, 3" }[spec.type]} onInput=${take} /></div>`;
}

function Row({ name, spec, schema, onChange, messages }) {
  const required = requiredOf(schema).includes(name);
  const put = (fields, to = name) => {
    const next = Object.fromEntries(Object.entries({ ...spec, ...fields }).filter(([, value]) => value !== undefined));
    if (next.type === "array") next.items = itemsOf(next.default);
    else delete next.items;
    onChange(withProperty(schema, name, to, next));
  };
  const rename = (event) => {
    const to = event.target.value.trim();
    if (to !== name && NAME.test(to) && !(to in schema.properties)) put({}, to);
    else event.target.value = name;
  };
  const require = (event) => {
    const others = requiredOf(schema).filter((each) => each !== name);
    const now = event.target.checked ? [...others, name] : others;
    onChange({ ...schema, required: now.length ? now : undefined });
  };
  return html`<li class="flow-param">
    <div class="field-row">
      <div class="field"><label for=${`param-name-${name}`}>${say("name")}</label><input id=${`param-name-${name}`} class="mono" value=${name} maxlength="40" spellcheck="false" onBlur=${rename} /></div>
      <div class="field"><label for=${`param-type-${name}`}>${say("type")}</label><select id=${`param-type-${name}`} value=${spec.type} onChange=${(event) => put({ type: event.target.value, default: undefined, enum: undefined })}>
        ${TYPES.map((type) => html`<option value=${type} key=${type}>${say(`type_${type}`)}</option>`)}</select></div>
    </div>
    <${DefaultField} id=${`param-default-${name}`} spec=${spec} onChange=${(value) => put({ default: value })} />
    <div class="field"><label for=${`param-title-${name}`}>${say("label")}</label>
      <input id=${`param-title-${name}`} value=${spec.title ?? ""} maxlength="100" onInput=${(event) => put({ title: event.target.value || undefined })} /></div>
    <div class="cluster"><label class="field-check"><input class="check" type="checkbox" checked=${required} onChange=${require} /><span>${say("required")}</span></label>
      <${IconButton} name="trash" label=${say("remove_param", { name })} onClick=${() => onChange(withProperty(schema, name, name, null))} /></div>
    <${Errors} messages=${messages} />
  </li>`;
}

function NumberField({ id, label, help, value, onChange, messages = [] }) {
  return html`<div class=${messages.length ? "field has-errors" : "field"}><label for=${id}>${label}</label>
    <input id=${id} type="number" min="1" value=${value ?? ""} onInput=${(event) => onChange(event.target.value === "" ? undefined : Number(event.target.value))} />
    <p class="field-help">${help}</p><${Errors} messages=${messages} /></div>`;
}

const defined = (object) => Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));

export function Settings({ doc, history, errors }) {
  const schema = doc.params ?? {};
  const put = (fields, name) => history.commit(defined({ ...history.get(), ...fields }), name);
  const setSchema = (next) => put({ params: rowsOf(next).length ? defined(next) : undefined }, "run parameters");
  const add = () => {
    let number = 1;
    while (`param_${number}` in (schema.properties ?? {})) number += 1;
    setSchema({ ...schema, properties: { ...schema.properties, [`param_${number}`]: { type: "string" } } });
  };
  const about = (name) => Object.entries(errors).filter(([path]) => [`params.properties.${name}`, `params.${name}`].some((start) => path === start || path.startsWith(`${start}.`))).flatMap(([, messages]) => messages);

  return html`<div class="flow-settings">
    <h2>${say("run_params")}</h2>
    <p class="faint">${say("run_params_help")}</p>
    <ul>${rowsOf(schema).map(([name, spec]) => html`<${Row} key=${name} name=${name} spec=${spec} schema=${schema} onChange=${setSchema} messages=${about(name)} />`)}</ul>
    <p><button type="button" class="btn btn-sm" onClick=${add}><${Icon} name="plus" />${say("add_param")}</button></p>
    <h2>${say("limits")}</h2>
    <${NumberField} id="parallelism" label=${say("parallelism")} help=${say("parallelism_help")} value=${doc.parallelism} messages=${errors.parallelism} onChange=${(value) => put({ parallelism: value }, "parallelism")} />
    <${NumberField} id="timeout" label=${say("timeout")} help=${say("timeout_help")} value=${doc.timeout_seconds} messages=${errors.timeout_seconds} onChange=${(value) => put({ timeout_seconds: value }, "timeout")} />
  </div>`;
}
