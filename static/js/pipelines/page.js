// What a page of pipelines is told by its template: addresses, words, data.
export const read = (id) => JSON.parse(document.getElementById(id)?.textContent ?? "null");

const words = read("pipeline-words") ?? {};

/** The words of a message in the reader's language: say("joined", { n: 3 }) fills {n}. */
export const say = (name, values = {}) => (words[name] ?? name).replace(/\{(\w+)\}/g, (_all, key) => values[key] ?? "");

const sheet = () => document.querySelector("svg.i use").getAttribute("href").replace(/#.*/, "");
export const iconUrl = (name) => `${sheet()}#${name}`;
