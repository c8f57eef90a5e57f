// The document as YAML, beside the drawing. Each follows the other; the server alone reads and writes the language.
import { html, useEffect, useRef } from "cube/vendor/flow";
import { mount as mountCode } from "cube/codefield";
import { Errors, Icon } from "cube/pipelines/pieces";
import { say } from "cube/pipelines/page";

/** `yaml` is what the document says; `onType(text)` takes what a person writes; `problems` say why it is not read. */
export function YamlPane({ yaml, problems, onType, onDiscard }) {
  const holder = useRef(null);
  const area = useRef(null);

  useEffect(() => {
    const made = document.createElement("textarea");
    Object.assign(made, { id: "pipeline-yaml", value: yaml });
    made.dataset.code = "yaml";
    made.dataset.ready = "yes";
    made.setAttribute("aria-label", say("yaml"));
    holder.current.append(made);
    mountCode(made);
    made.addEventListener("input", () => onTypeNow.current(made.value));
    area.current = made;
    return () => holder.current?.replaceChildren();
  }, []);

  const onTypeNow = useRef(onType);
  onTypeNow.current = onType;
  useEffect(() => {
    if (!area.current || area.current.value === yaml) return;
    const { selectionStart, scrollTop } = area.current;
    area.current.value = yaml;
    area.current.setSelectionRange(selectionStart, selectionStart);
    area.current.scrollTop = scrollTop;
    area.current.dispatchEvent(new Event("scroll"));
    area.current.dispatchEvent(new CustomEvent("cube:filled"));
  }, [yaml]);

  const open = async (event) => {
    const [file] = event.target.files;
    event.target.value = "";
    if (file) onType(await file.text());
  };

  return html`<div class="flow-yaml">
    <div><label class="btn btn-sm flow-file"><${Icon} name="file-import" />${say("yaml_file")}<input type="file" class="visually-hidden" accept=".yaml,.yml,.json" onChange=${open} /></label></div>
    ${problems.length > 0 && html`<div class="notice notice-warn" role="alert"><${Icon} name="alert-triangle" /><div>
      <p>${say("yaml_unread")}</p><${Errors} messages=${problems} />
      <p><button type="button" class="btn btn-sm" onClick=${onDiscard}>${say("yaml_discard")}</button></p></div></div>`}
    <div class="field" ref=${holder}></div>
  </div>`;
}
