// Loaded on every page. Small behaviours by attribute; heavier islands are fetched only where their markup is.
const text = document.body.dataset;

// ---- Islands: [selector, module] ----
const ISLANDS = [
  ["[data-switcher]", "cube/switcher"],
  ["[data-tabs]", "cube/tabs"],
  ["textarea[data-code]", "cube/codefield"],
  ["pre[data-yaml]", "cube/yamlview"],
];

async function enhance(root) {
  refreshTimes(root);
  root.querySelectorAll("[data-toast]").forEach(leaveSoon);
  for (const [selector, name] of ISLANDS) {
    const found = [...root.querySelectorAll(selector)].filter((element) => !element.dataset.ready);
    if (root.matches?.(selector) && !root.dataset.ready) found.push(root);
    if (!found.length) continue;
    found.forEach((element) => { element.dataset.ready = "yes"; });
    const { mount } = await import(name);
    found.forEach(mount);
  }
}

// ---- Toasts ----
/** Show a passing message; `level` is success, info, warning or error. Errors stay until closed. */
export function toast(message, level = "info") {
  const note = document.createElement("div");
  note.className = `toast-note tone-${level}`;
  const words = document.createElement("p");
  words.textContent = message;
  const close = document.createElement("button");
  close.type = "button";
  close.className = "icon-button";
  close.dataset.close = "";
  close.setAttribute("aria-label", text.textClose);
  close.textContent = "×";
  note.append(words, close);
  document.getElementById("toasts").append(note);
  leaveSoon(note);
}

function leaveSoon(note) {
  if (!note.matches(".tone-error, .tone-warning")) setTimeout(() => note.remove(), 7000);
}

// ---- Status badges ----
/** Redraw a rendered status badge after a push message. */
export function setStatus(badge, status, label) {
  badge.dataset.status = status;
  badge.querySelector(".status-label").textContent = label;
  const use = badge.querySelector("use");
  use.setAttribute("href", use.getAttribute("href").replace(/#.*/, `#status-${status}`));
}

// ---- Relative times ----
const UNITS = [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
const relative = new Intl.RelativeTimeFormat(document.documentElement.lang || "en", { numeric: "auto" });

function refreshTimes(root = document) {
  for (const element of root.querySelectorAll("time[data-relative]")) {
    const seconds = (Date.parse(element.dateTime) - Date.now()) / 1000;
    if (Number.isNaN(seconds)) continue;
    const [unit, size] = UNITS.find(([, length]) => Math.abs(seconds) >= length) ?? UNITS.at(-1);
    const words = relative.format(Math.round(seconds / size), unit);
    if (element.textContent !== words) element.textContent = words;
    element.title ||= new Date(element.dateTime).toLocaleString();
  }
}
setInterval(() => document.hidden || refreshTimes(), 5000);

// ---- Confirmation: <form data-confirm="Stop this job?" data-confirm-text="…" data-confirm-action="Stop"> ----
const agreed = new WeakSet();

async function ask({ confirm, confirmText, confirmAction, confirmTone }) {
  const dialog = document.getElementById("confirm");
  const yes = dialog.querySelector("[data-confirm-yes]");
  dialog.querySelector("#confirm-title").textContent = confirm;
  dialog.querySelector("#confirm-text").textContent = confirmText ?? "";
  yes.textContent = confirmAction ?? yes.dataset.default;
  yes.className = `btn ${confirmTone === "danger" ? "btn-danger" : "btn-primary"}`;
  dialog.returnValue = "";
  dialog.showModal();
  await new Promise((closed) => dialog.addEventListener("close", closed, { once: true }));
  return dialog.returnValue === "yes";
}

// In the capture phase, so that htmx hears nothing before the person has answered.
document.addEventListener("submit", async (event) => {
  const { target: form, submitter } = event;
  const question = submitter?.dataset.confirm ? submitter.dataset : form.dataset;
  if (!question.confirm || agreed.delete(form)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  if (!await ask(question)) return;
  agreed.add(form);
  form.requestSubmit(submitter);
}, true);

// ---- Clicks: copy, close, sidebar, menus ----
document.addEventListener("click", async (event) => {
  const target = event.target.closest("[data-copy], [data-copy-from], [data-close], [data-sidebar-open], [data-sidebar-close]");
  for (const menu of document.querySelectorAll("[data-menu][open]")) {
    if (!menu.contains(event.target) || event.target.closest(".menu-list :is(a, button)")) menu.open = false;
  }
  if (!target) return;
  if ("close" in target.dataset) target.closest("[data-toast], .toast-note").remove();
  else if ("sidebarOpen" in target.dataset) sidebar(true);
  else if ("sidebarClose" in target.dataset) sidebar(false);
  else await copy(target);
});

async function copy(button) {
  const near = button.closest("figure") ?? document;
  const source = button.dataset.copyFrom ? near.querySelector(button.dataset.copyFrom) : null;
  const words = source ? source.value ?? source.textContent : button.dataset.copy;
  try {
    await navigator.clipboard.writeText(words);
  } catch {  // Plain http away from localhost has no clipboard API.
    const field = Object.assign(document.createElement("textarea"), { value: words });
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
    button.focus();
  }
  button.dataset.done = "";
  toast(text.textCopied, "success");
  setTimeout(() => delete button.dataset.done, 1600);
}

function sidebar(open) {
  document.body.classList.toggle("sidebar-open", open);
  const opener = document.querySelector("[data-sidebar-open]");
  opener?.setAttribute("aria-expanded", String(open));
  (open ? document.querySelector(".sidebar a, .sidebar summary") : opener)?.focus();
}

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  if (document.body.classList.contains("sidebar-open")) sidebar(false);
  const menu = document.querySelector("[data-menu][open]");
  if (menu) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

document.addEventListener("focusin", (event) => {
  for (const menu of document.querySelectorAll("[data-menu][open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

// ---- Bulk choice: <table data-choose>, [data-choose-all], [data-choose-bar] ----
document.addEventListener("change", (event) => {
  const scope = event.target.closest("[data-choose]");
  if (!scope || event.target.type !== "checkbox") return;
  const all = scope.querySelector("[data-choose-all]");
  const boxes = [...scope.querySelectorAll("tbody input[type=checkbox]")];
  if (event.target === all) boxes.forEach((box) => { box.checked = all.checked; });
  const chosen = boxes.filter((box) => box.checked).length;
  if (all) {
    all.checked = chosen > 0 && chosen === boxes.length;
    all.indeterminate = chosen > 0 && chosen < boxes.length;
  }
  for (const bar of scope.querySelectorAll("[data-choose-bar]")) {
    bar.hidden = !chosen;
    bar.querySelectorAll("[data-choose-count]").forEach((count) => { count.textContent = chosen; });
  }
});

// ---- htmx ----
document.addEventListener("htmx:load", (event) => enhance(event.detail.elt));
// What asks by itself every so often must not stack up errors nobody caused: `data-quiet`.
const isQuiet = (event) => event.target.closest?.("[data-quiet]");
document.addEventListener("htmx:responseError", (event) => isQuiet(event) || toast(text.textFailed, "error"));
document.addEventListener("htmx:sendError", (event) => isQuiet(event) || toast(text.textOffline, "error"));

enhance(document);
