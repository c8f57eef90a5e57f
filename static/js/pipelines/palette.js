// The templates that tasks are made of: typed to narrow, dragged onto the drawing, or added with Enter or a click.
import { html, useMemo, useState } from "cube/vendor/flow";
import { TEMPLATE } from "cube/pipelines/canvas";
import { Icon } from "cube/pipelines/pieces";
import { say } from "cube/pipelines/page";

const matches = (template, words) => words.every((word) => `${template.name} ${template.slug} ${template.summary} ${template.category}`.toLowerCase().includes(word));

function Entry({ template, onAdd }) {
  const take = (event) => {
    event.dataTransfer.setData(TEMPLATE, template.slug);
    event.dataTransfer.effectAllowed = "copy";
  };
  return html`<li><button type="button" class="palette-entry" draggable="true" title=${template.summary} onDragStart=${take} onClick=${() => onAdd(template)}>
    <${Icon} name=${template.icon} /><span><strong>${template.name}</strong><small>${template.summary}</small></span>
  </button></li>`;
}

function byCategory(templates) {
  const groups = new Map();
  templates.forEach((template) => groups.set(template.category, [...(groups.get(template.category) ?? []), template]));
  return [...groups];
}

export function Palette({ templates, onAdd }) {
  const [search, setSearch] = useState("");
  const found = useMemo(() => {
    const words = search.toLowerCase().split(/\s+/).filter(Boolean);
    return [...templates.values()].filter((template) => matches(template, words));
  }, [templates, search]);
  const onKey = (event) => {
    if (event.key === "Enter" && found.length) onAdd(found[0]);
    if (event.key === "Escape") setSearch("");
  };

  return html`<aside class="flow-palette" aria-label=${say("palette")}>
    <label class="menu-search"><${Icon} name="search" /><input type="search" id="palette-search" placeholder=${say("find_template")}
      aria-label=${say("find_template")} autocomplete="off" value=${search} onInput=${(event) => setSearch(event.target.value)} onKeyDown=${onKey} /></label>
    <div class="palette-list">
      ${byCategory(found).map(([category, entries]) => html`<section key=${category}>
        ${category && html`<h3>${category}</h3>`}
        <ul>${entries.map((template) => html`<${Entry} key=${template.slug} template=${template} onAdd=${onAdd} />`)}</ul>
      </section>`)}
      ${!found.length && html`<p class="faint" role="status">${say(templates.size ? "no_template" : "no_templates")}</p>`}
    </div>
  </aside>`;
}
