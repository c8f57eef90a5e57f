// Beside the drawing: the chosen task, what holds for the whole pipeline, or its YAML.
import { html } from "cube/vendor/flow";
import { hasTask } from "cube/pipelines/document";
import { TaskPanel } from "cube/pipelines/panel";
import { say } from "cube/pipelines/page";
import { Settings } from "cube/pipelines/settings";
import { YamlPane } from "cube/pipelines/yamlpane";

const TABS = ["task", "settings", "yaml"];

function Tabs({ tab, setTab }) {
  const onKey = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = TABS[(TABS.indexOf(tab) + step + TABS.length) % TABS.length];
    setTab(next);
    setTimeout(() => document.getElementById(`side-tab-${next}`).focus());
  };
  return html`<div class="tabs" role="tablist" aria-label=${say("side")} onKeyDown=${onKey}>
    ${TABS.map((name) => html`<button type="button" role="tab" key=${name} id=${`side-tab-${name}`} aria-selected=${String(tab === name)} aria-controls="flow-side-panel"
      tabindex=${tab === name ? 0 : -1} onClick=${() => setTab(name)}>${say(`tab_${name}`)}</button>`)}</div>`;
}

function Nothing({ count }) {
  return html`<p class="faint flow-nothing">${say(count > 1 ? "many_chosen" : "none_chosen", { n: count })}</p>`;
}

export function Side({ tab, setTab, doc, history, page, checking, chosen, panel, onRenamed, onRefused }) {
  const keys = [...chosen].filter((key) => hasTask(doc, key));
  const body = {
    task: () => (keys.length === 1
      ? html`<${TaskPanel} taskKey=${keys[0]} doc=${doc} history=${history} urls=${page.urls} errors=${checking.errors} current=${panel} onRenamed=${onRenamed} onRefused=${onRefused} />`
      : html`<${Nothing} count=${keys.length} />`),
    settings: () => html`<${Settings} doc=${doc} history=${history} errors=${checking.errors} />`,
    yaml: () => html`<${YamlPane} yaml=${checking.yaml} problems=${checking.problems} onType=${checking.onType} onDiscard=${checking.discard} />`,
  };
  return html`<section class="flow-side" data-tab=${tab}>
    <${Tabs} tab=${tab} setTab=${setTab} />
    <div class="flow-side-body" id="flow-side-panel" role="tabpanel" aria-labelledby=${`side-tab-${tab}`}>${body[tab]()}</div>
  </section>`;
}
