// A worker that looks for a pattern in lines. Apart from the page, because a pattern may take for ever: then the page
// ends this worker and shows no marks, instead of standing still.
let pattern = null;

addEventListener("message", ({ data }) => {
  if (data.query) {
    const { text, regex, isCaseSensitive } = data.query;
    try {
      pattern = new RegExp(regex ? text : text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"), isCaseSensitive ? "gu" : "giu");
    } catch {
      pattern = null;  // The server's dialect knows more; it finds the lines, they are only not marked here.
    }
    return;
  }
  const { id, texts } = data;
  postMessage({ id, hits: texts.map(hitsIn) });
});

const MOST = 500;  // marks in one line

function hitsIn(text) {
  const hits = [];
  if (!pattern) return hits;
  for (const match of text.matchAll(pattern)) {
    if (match[0]) hits.push([match.index, match.index + match[0].length]);
    if (hits.length === MOST) break;
  }
  return hits;
}
