// Terminal text to plain text and to spans. Colours become classes (f0–f7, b0–b7); every other command of a terminal
// is dropped, every other byte stays text: nothing a program prints can act, hide or be mistaken for the page.
//
// In order: strings with an end (OSC: titles, links; DCS, SOS, PM, APC), CSI commands, two-byte escapes, what is left
// of a broken one, and control characters with no picture. Line feed and tab stay.
const ESCAPE = /\x1b(?:[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|\[[0-?]*[ -/]*[@-~]|[ -/]*[0-~])?|[\x07\x08\x0b\x0c\x0d\x7f-\x9f]/g;
const SGR = /^\x1b\[[\d;:]*m$/;
const MOST_RUNS = 160;  // a storm of colours within one line ends here, as plain text
const STYLES = { 1: "a-bold", 2: "a-dim", 3: "a-italic", 4: "a-underline", 7: "a-inverse", 9: "a-strike" };
const ENDS = { 22: ["a-bold", "a-dim"], 23: ["a-italic"], 24: ["a-underline"], 27: ["a-inverse"], 29: ["a-strike"] };

// Characters that would change the order or look of what stands around them are shown as what they are.
const UNSEEN = /[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069]/g;

/** Control characters as their pictures (␀), marks that turn the writing direction by their number. */
export function visible(text) {
  return text.replace(UNSEEN, (mark) => (mark < " " ? String.fromCharCode(0x2400 + mark.charCodeAt(0)) : `‹U+${mark.charCodeAt(0).toString(16).toUpperCase()}›`));
}

/** The states a line went through by carriage returns; a progress bar has many, other lines one. */
export function statesOf(raw) {
  if (!raw.includes("\r")) return [raw];
  const states = raw.split("\r").filter((state) => state.replace(ESCAPE, "").trim());
  return states.length ? states : [""];
}

/** {text, runs}: the plain text, and [start, classes] wherever the look changes. */
export function parse(raw) {
  const runs = [];
  const look = new Set();
  let text = "";
  let from = 0;
  for (const match of raw.matchAll(ESCAPE)) {
    text += visible(raw.slice(from, match.index));
    from = match.index + match[0].length;
    if (runs.length >= MOST_RUNS || !SGR.test(match[0])) continue;
    restyle(look, match[0].slice(2, -1).split(/[;:]/).map(Number));
    if (runs.at(-1)?.[0] === text.length) runs.pop();
    runs.push([text.length, runs.length < MOST_RUNS - 1 ? [...look].join(" ") : ""]);
  }
  return { text: text + visible(raw.slice(from)), runs };
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
  if (!(colour >= 0 && colour <= 255)) return null;
  if (colour < 16) return colour % 8;
  if (colour >= 232) return colour < 244 ? 0 : 7;
  const cube = colour - 16;
  return nearest([Math.floor(cube / 36), Math.floor(cube / 6) % 6, cube % 6].map((step) => step * 51));
}

// Eight hues are enough to tell log colours apart, and each of them is readable in both themes.
function nearest(rgb) {
  const top = Math.max(...rgb);
  if (!(top >= 60)) return 0;
  return rgb.reduce((bits, part, bit) => bits | (part > top * 0.6 ? 1 << bit : 0), 0);
}
