// The panel of one task. Its form is drawn by the server from the template's schema; what is typed is read there too, so
// that a value means here what it means everywhere. The judge is the check of the whole document.
import { html, useEffect, useRef, useState } from "cube/vendor/flow";
import { toast } from "cube/app";
import { KEY, changeTask, hasTask, renameTask, tasksOf } from "cube/pipelines/document";
import { Errors, Icon } from "cube/pipelines/pieces";
import { errorsOfTask, showOnForm } from "cube/pipelines/errors";
import { Needs } from "cube/pipelines/needs";
import { postForm, postJson } from "cube/pipelines/server";
import { say } from "cube/pipelines/page";

const READ_AFTER_MS = 200;
const undefinedForNull = (fields) => Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, value ?? undefined]));
const withoutPlace = ({ position, needs, ...fields }) => JSON.stringify(fields);  // what the form does not hold

/** The form in `holder` and what comes of it. `flush()` resolves when everything typed is in the document. */
class TaskForm {
  constructor({ holder, taskKey, history, urls, onDrawn }) {
    Object.assign(this, { holder, taskKey, history, urls, onDrawn, shown: "", timer: null, isDirty: false, isGone: false, reading: Promise.resolve() });
    holder.addEventListener("input", () => this.touched());
    holder.addEventListener("change", (event) => (event.target.name === "template" ? this.redraw() : this.touched()));
    holder.addEventListener("click", (event) => this.#clicked(event));
    holder.addEventListener("submit", (event) => event.preventDefault());
  }

  get task() { return tasksOf(this.history.get())[this.taskKey]; }
  get form() { return this.holder.querySelector("form"); }

  /** Draw anew when the document says something else than what was typed here: after undo, or from the YAML. */
  async follow() {
    if (this.isDirty || !this.task || withoutPlace(this.task) === this.shown) return;
    await this.draw(this.task);
  }

  async draw(task, expressions = []) {
    const mine = withoutPlace(task);
    this.shown = mine;
    const answer = await postJson(this.urls.panel, { task, expressions });
    if (this.isGone || this.shown !== mine || !answer.ok) return;
    const [focus, open] = [document.activeElement?.name, [...this.holder.querySelectorAll("details[open]")].map((each) => each.dataset.name)];
    this.holder.innerHTML = answer.body;  // our own server's rendered form, escaped there
    this.holder.dispatchEvent(new CustomEvent("htmx:load", { bubbles: true, detail: { elt: this.holder } }));
    this.holder.querySelectorAll("details").forEach((each) => { if (open.includes(each.dataset.name)) each.open = true; });
    if (focus && this.holder.contains(this.form?.elements[focus])) this.form.elements[focus].focus();
    this.onDrawn();
  }

  touched() {
    this.isDirty = true;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.flush(), READ_AFTER_MS);
  }

  /** Another template, or a field that becomes an expression: the server draws what fits now. */
  async redraw(expressions) {
    this.isDirty = true;
    await this.flush();
    if (this.task) await this.draw(this.task, expressions ?? this.#expressions());
  }

  /** One after the other: an answer that came late must not undo what was typed after its question. */
  flush() {
    clearTimeout(this.timer);
    this.reading = this.reading.then(() => this.#read()).catch(() => {
      this.isDirty = true;
      toast(document.body.dataset.textOffline, "error");
    });
    return this.reading;
  }

  async #read() {
    if (!this.isDirty || !this.form) return;
    this.isDirty = false;
    const answer = await postForm(this.urls.read, new FormData(this.form));
    if (!answer.ok || !this.task) return;
    const changed = changeTask(this.history.get(), this.taskKey, undefinedForNull(answer.body.fields));
    const task = tasksOf(changed)[this.taskKey];
    if (withoutPlace(task) === withoutPlace(this.task)) return;
    this.shown = withoutPlace(task);
    this.history.commit(changed, `panel ${this.taskKey}`);
  }

  #expressions() {
    return [...this.form.querySelectorAll("[name=expression]")].map((each) => each.value);
  }

  #clicked(event) {
    const button = event.target.closest("[data-expression-of]");
    if (!button) return;
    const name = button.dataset.expressionOf;
    const now = this.#expressions();
    const isOn = now.includes(name);
    if (isOn) this.form.querySelector(`[name=expression][value="${CSS.escape(name)}"]`).remove();
    this.redraw(isOn ? now.filter((each) => each !== name) : [...now, name]);
  }

  leave() {
    const settled = this.flush();
    this.isGone = true;
    return settled;
  }
}

function KeyField({ taskKey, doc, history, onRenamed }) {
  const [wrong, setWrong] = useState("");
  const rename = (event) => {
    const to = event.target.value.trim();
    if (to === taskKey) return setWrong("");
    if (!KEY.test(to)) return setWrong(say("bad_key"));
    if (hasTask(doc, to)) return setWrong(say("taken_key", { key: to }));
    setWrong("");
    history.commit(renameTask(history.get(), taskKey, to));
    onRenamed(to);
  };
  return html`<div class=${wrong ? "field has-errors" : "field"}>
    <label for="task-key">${say("key")}</label>
    <input id="task-key" class="mono" value=${taskKey} maxlength="40" spellcheck="false" autocomplete="off" onBlur=${rename} onKeyDown=${(event) => event.key === "Enter" && rename(event)} />
    <${Errors} messages=${wrong ? [wrong] : []} />
  </div>`;
}

export function TaskPanel({ taskKey, doc, history, urls, errors, current, onRenamed, onRefused }) {
  const holder = useRef(null);
  const form = useRef(null);
  const [homeless, setHomeless] = useState([]);
  const mine = errorsOfTask(errors, taskKey);
  const showErrors = () => form.current?.form && setHomeless(showOnForm(form.current.form, mine));

  useEffect(() => {
    const opened = new TaskForm({ holder: holder.current, taskKey, history, urls, onDrawn: () => opened.showErrors?.() });
    form.current = current.value = opened;
    opened.follow();
    return () => {
      current.leaving = opened.leave();
      if (current.value === opened) current.value = null;
      form.current = null;
    };
  }, [taskKey]);
  useEffect(() => { if (form.current) form.current.showErrors = showErrors; showErrors(); }, [errors, taskKey]);
  useEffect(() => { form.current?.follow(); }, [doc]);

  return html`<div class="flow-task-panel">
    ${homeless.length > 0 && html`<div class="notice notice-danger" role="alert"><${Icon} name="alert-triangle" /><div>${homeless.map((message) => html`<p>${message}</p>`)}</div></div>`}
    <${KeyField} key=${taskKey} taskKey=${taskKey} doc=${doc} history=${history} onRenamed=${onRenamed} />
    <${Needs} taskKey=${taskKey} doc=${doc} history=${history} onRefused=${onRefused} />
    <div ref=${holder} key=${`form ${taskKey}`}><p class="faint">${say("loading")}</p></div>
  </div>`;
}
