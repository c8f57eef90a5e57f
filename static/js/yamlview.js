// Light colours for <pre data-yaml>. Text only ever travels through textContent.
const LINE = /^(\s*(?:- )*)("[^"]*"|'[^']*'|[^\s#:'"][^#:]*)(:)(?=\s|$)/;
const VALUES = [
  [/^\s+#.*$|^#.*$/, "comment"],
  [/^\s*(?:"(?:[^"\\]|\\.)*"|'(?:[^']|'')*')/, "string"],
  [/^\s*-?\d+(?:\.\d+)?(?=\s|$)/, "number"],
  [/^\s*(?:true|false|null|~)(?=\s|$)/, "bool"],
  [/^\s*(?:---|\.\.\.|[|>][+-]?|[&*!]\S+)(?=\s|$)/, "mark"],
];

export function mount(pre) {
  const page = document.createDocumentFragment();
  for (const line of pre.textContent.split("\n")) {
    paint(line, page);
    page.append("\n");
  }
  page.lastChild.remove();
  pre.replaceChildren(page);
}

function paint(line, page) {
  const key = LINE.exec(line);
  if (key) {
    page.append(key[1], span(key[2], "key"), key[3]);
    line = line.slice(key[0].length);
  } else {
    const dash = /^\s*(?:- )+/.exec(line)?.[0] ?? "";
    page.append(dash);
    line = line.slice(dash.length);
  }
  for (const [pattern, kind] of VALUES) {
    const hit = pattern.exec(line)?.[0];
    if (!hit) continue;
    page.append(span(hit, kind));
    line = line.slice(hit.length);
    break;
  }
  const comment = /\s#.*$/.exec(line)?.[0] ?? "";
  page.append(line.slice(0, line.length - comment.length), span(comment, "comment"));
}

function span(words, kind) {
  const element = document.createElement("span");
  element.className = `y-${kind}`;
  element.textContent = words;
  return element;
}
