// The row above the drawing.
import { html } from "cube/vendor/flow";
import { Problems } from "cube/pipelines/dialogs";
import { Icon, IconButton } from "cube/pipelines/pieces";
import { say } from "cube/pipelines/page";

const problemsOf = (errors) => Object.entries(errors).flatMap(([path, messages]) => messages.map((message) => [path, message]));

function Tools({ history, verbs, showMap }) {
  return html`<div class="cluster flow-tools" role="toolbar" aria-label=${say("tools")}>
    <${IconButton} name="arrow-back-up" label=${say("undo")} keys="Ctrl Z" disabled=${!history.canUndo()} onClick=${verbs.undo} />
    <${IconButton} name="arrow-forward-up" label=${say("redo")} keys="Ctrl Shift Z" disabled=${!history.canRedo()} onClick=${verbs.redo} />
    <${IconButton} name="copy" label=${say("duplicate")} keys="Ctrl D" disabled=${!verbs.chosen.size} onClick=${verbs.duplicate} />
    <${IconButton} name="trash" label=${say("remove")} keys="Delete" disabled=${!verbs.chosen.size && !verbs.edgesChosen.size} onClick=${verbs.remove} />
    <${IconButton} name="sitemap" label=${say("layout")} keys="L" onClick=${verbs.layout} />
    <${IconButton} name="focus-centered" label=${say("fit")} keys="F" onClick=${verbs.fit} />
    <${IconButton} name="map" label=${say("map")} keys="M" pressed=${showMap} onClick=${verbs.map} />
    <${IconButton} name="keyboard" label=${say("keys")} keys="?" onClick=${verbs.help} />
  </div>`;
}

export function Toolbar({ page, history, verbs, saving, checking, showMap, onChoose }) {
  const problems = problemsOf(checking.errors);
  const isChanged = history.isChanged() || saving.base === 0;
  return html`<header class="flow-bar">
    <h1><a href=${page.urls.detail}>${page.name}</a> <small class="faint">${saving.base ? say("version", { n: saving.base }) : say("unsaved_new")}${history.isChanged() ? ` · ${say("changed")}` : ""}</small></h1>
    <${Tools} history=${history} verbs=${verbs} showMap=${showMap} />
    <div class="cluster flow-acts">
      ${problems.length > 0 && html`<${Problems} problems=${problems} onChoose=${onChoose} />`}
      <button type="button" class="btn" disabled=${saving.busy || !isChanged} onClick=${() => saving.ask(false)}><${Icon} name="check" />${say("save")}</button>
      ${page.may_run && html`<button type="button" class="btn btn-primary" disabled=${saving.busy} onClick=${() => saving.ask(true)}><${Icon} name="player-play" />${say("run")}</button>`}
    </div>
  </header>`;
}
