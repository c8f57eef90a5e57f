// The server's complaints, by path: { "tasks.train.params.code": ["…"], "parallelism": ["…"] }.

/** Those of one task, by the path within it: { "params.code": ["…"], "": ["…"] }. */
export function errorsOfTask(errors, key) {
  const start = `tasks.${key}`;
  const mine = Object.entries(errors).filter(([path]) => path === start || path.startsWith(`${start}.`) || path.startsWith(`${start}[`));
  return Object.fromEntries(mine.map(([path, messages]) => [path.slice(start.length).replace(/^\./, ""), messages]));
}

/** How many complaints each task has: { train: 2 }. */
export function countByTask(errors) {
  const counts = Object.create(null);
  for (const [path, messages] of Object.entries(errors)) {
    const key = /^tasks\.([a-z0-9_]+)/.exec(path)?.[1];
    if (key) counts[key] = (counts[key] ?? 0) + messages.length;
  }
  return counts;
}

/** Those that speak of the pipeline as a whole or of its run parameters: [[path, message], …]. */
export const errorsOfAll = (errors) => Object.entries(errors)
  .filter(([path]) => !/^tasks\.[a-z0-9_]/.test(path))
  .flatMap(([path, messages]) => messages.map((message) => [path, message]));

/** The name of the form's control that a path within a task speaks of: params.code → param-code, retries.count → retries_count. */
export function controlName(path) {
  const plain = path.replace(/\[.*$/, "");
  return plain.startsWith("params.") ? `param-${plain.slice(7).split(".")[0]}` : plain.replace(".", "_");
}

/** Puts complaints under the fields of a form, and takes away those of before. Returns the ones that found no field. */
export function showOnForm(form, errors) {
  form.querySelectorAll("[data-said]").forEach((said) => said.remove());
  form.querySelectorAll(".has-errors").forEach((field) => field.classList.remove("has-errors"));
  const homeless = [];
  for (const [path, messages] of Object.entries(errors)) {
    const control = form.elements.namedItem(controlName(path));
    const field = (control instanceof RadioNodeList ? control[0] : control)?.closest(".field");
    if (field) field.append(listOf(messages));
    else homeless.push(...messages.map((message) => (path ? `${path}: ${message}` : message)));
    field?.classList.add("has-errors");
    field?.closest("details")?.setAttribute("open", "");
  }
  return homeless;
}

function listOf(messages) {
  const list = document.createElement("ul");
  list.className = "field-errors";
  list.dataset.said = "";
  list.append(...messages.map((message) => Object.assign(document.createElement("li"), { textContent: message })));
  return list;
}
