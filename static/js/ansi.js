// Terminal text to plain text and to spans. Colours become classes (f0–f7, b0–b7), everything else stays text.
const ESCAPE = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/g;
const STYLES = { 1: "a-bold", 2: "a-dim", 3: "a-italic", 4: "a-underline", 7: "a-inverse", 9: "a-strike" };
const ENDS = { 22: ["a-bold", "a-dim"], 23: ["a-italic"], 24: ["a-underline"], 27: ["a-inverse"], 29: ["a-strike"] };

/** What a terminal would show: a progress bar that rewrote its line leaves only its last state. */
export function foldReturns(raw) {
  if (!raw.includes("\r")) return raw;
  return raw.replace(/[\r\n]+$/, "").split("\r").at(-1);
}

/** {text, runs}: the plain text, and [start, classes] wherever the look changes. */
export function parse(raw) {
  if (!raw.includes("\x1b")) return { text: raw.replace(ESCAPE, ""), runs: [] };
  const runs = [];
  const look = new Set();
  let text = "";
  let from = 0;
  for (const match of raw.matchAll(ESCAPE)) {
    text += raw.slice(from, match.index);
    from = match.index + match[0].length;
    if (!/^\x1b\[[\d;:]*m$/.test(match[0])) continue;
    restyle(look, match[0].slice(2, -1).split(/[;:]/).map(Number));
    runs.push([text.length, [...look].join(" ")]);
  }
  return { text: text + raw.slice(from), runs };
}

function restyle(look, codes) {
  const paint = (ground, colour) => {
    look.forEach((name) => name.startsWith(ground) && !name.includes("-") && look.delete(name));
    if (colour !== null) look.add(ground + colour);
  };
  for (let at = 0; at < codes.length; at++) {
    const code = codes[at];
    if (code === 0) look.clear();
    else if (STYLES[code]) look.add(STYLES[code]);
    else if (ENDS[code]) ENDS[code].forEach((name) => look.delete(name));
    else if (code === 38 || code === 48) {
      const ground = code === 38 ? "f" : "b";
      if (codes[at + 1] === 5) { paint(ground, fromPalette(codes[at + 2])); at += 2; }
      else if (codes[at + 1] === 2) { paint(ground, nearest(codes.slice(at + 2, at + 5))); at += 4; }
    } else if (code === 39 || code === 49) paint(code === 39 ? "f" : "b", null);
    else if (code >= 30 && code <= 37) paint("f", code - 30);
    else if (code >= 40 && code <= 47) paint("b", code - 40);
    else if (code >= 90 && code <= 97) paint("f", code - 90);
    else if (code >= 100 && code <= 107) paint("b", code - 100);
  }
}

function fromPalette(colour) {
  if (colour < 16) return colour % 8;
  if (colour >= 232) return colour < 244 ? 0 : 7;
  const cube = colour - 16;
  return nearest([Math.floor(cube / 36), Math.floor(cube / 6) % 6, cube % 6].map((step) => step * 51));
}

// Eight hues are enough to tell log colours apart, and each of them is readable in both themes.
function nearest(rgb) {
  const top = Math.max(...rgb);
  if (top < 60) return 0;
  return rgb.reduce((bits, part, bit) => bits | (part > top * 0.6 ? 1 << bit : 0), 0);
}
