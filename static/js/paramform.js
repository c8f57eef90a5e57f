// Makes a form generated from a parameter schema comfortable. Everything it does is checked again by the server:
// data-show-when hides what does not apply, data-cascade narrows choices, data-list adds and removes rows.

const PREFIX = "param-";

function valueOf(form, name) {
  const control = form.elements[PREFIX + name];
  if (!control) return undefined;
  return control.type === "checkbox" ? control.checked : control.value;  // a group of radios has a value of its own
}

const matches = (value, wanted) => wanted.some((one) => String(one) === String(value));

function applies(form, conditions) {
  return Object.entries(conditions).every(([name, wanted]) => {
    const hidden = form.elements[PREFIX + name] && hiddenFields.has(fieldOf(controlOf(form, name)));
    return !hidden && matches(valueOf(form, name), wanted);
  });
}

const hiddenFields = new WeakSet();
const fieldOf = (control) => control.closest(".field") ?? control.parentElement;
const controlOf = (form, name) => {
  const control = form.elements[PREFIX + name];
  return control instanceof RadioNodeList ? control[0] : control;
};

function show(form, control) {
  const field = fieldOf(control);
  const visible = applies(form, JSON.parse(control.dataset.showWhen));
  field.hidden = !visible;
  if (visible) hiddenFields.delete(field);
  else hiddenFields.add(field);
}

// A choice somebody made stays as long as it may; otherwise the first one is taken, as the server would.
const chosen = new WeakSet();

function narrow(form, select) {
  const { param, map } = JSON.parse(select.dataset.cascade);
  const choices = map[valueOf(form, param)] ?? [];
  for (const option of select.options) {
    const fits = option.value === "" || choices.includes(option.value);
    option.hidden = option.disabled = !fits;  // Safari ignores hidden options, so they are disabled as well.
  }
  if (!chosen.has(select) || !choices.includes(select.value)) select.value = choices[0] ?? "";
}

function refresh(form, root) {
  // Twice: a cascade or a condition may depend on one that comes later in the page.
  for (let pass = 0; pass < 2; pass += 1) {
    root.querySelectorAll("select[data-cascade]").forEach((select) => narrow(form, select));
    root.querySelectorAll("[data-show-when]").forEach((control) => show(form, control));
  }
}

function mountList(list) {
  const most = Number(list.dataset.most);
  const add = list.querySelector("[data-list-add]");
  const rows = () => [...list.querySelectorAll("[data-list-row]")];
  const input = (row) => row.querySelector("input");
  const blank = rows()[0].cloneNode(true);

  input(blank).value = "";
  rows().filter((row, index) => index > 0 && !input(row).value).forEach((row) => row.remove());

  function settle() {
    add.hidden = rows().length >= most;
    rows().forEach((row, index) => {
      row.querySelector("[data-list-remove]").hidden = false;
      input(row).setAttribute("aria-label", input(row).getAttribute("aria-label").replace(/\d+$/, String(index + 1)));
    });
  }

  function append() {
    if (rows().length >= most) return;
    const row = blank.cloneNode(true);
    add.parentElement.before(row);
    settle();
    input(row).focus();
  }

  add.addEventListener("click", append);
  list.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.target.tagName !== "INPUT") return;
    event.preventDefault();  // Enter in a row means the next row, not "submit the job".
    append();
  });
  list.addEventListener("click", (event) => {
    const row = event.target.closest("[data-list-remove]")?.closest("[data-list-row]");
    if (!row) return;
    const all = rows();
    if (all.length === 1) input(row).value = "";
    else row.remove();
    settle();
    (input(rows()[Math.max(0, all.indexOf(row) - 1)]) ?? add).focus();
    list.dispatchEvent(new Event("change", { bubbles: true }));  // so that a preview of the manifests follows
  });
  settle();
}

export function mount(root) {
  const form = root.closest("form");
  if (!form || root.dataset.mounted) return;
  root.dataset.mounted = "yes";
  root.querySelectorAll("[data-list]").forEach(mountList);
  root.querySelectorAll("select[data-cascade]").forEach((select) => {
    if (select.value) chosen.add(select);
    select.addEventListener("change", () => chosen.add(select));
  });
  form.addEventListener("input", () => refresh(form, root));
  form.addEventListener("change", () => refresh(form, root));
  form.addEventListener("reset", () => setTimeout(() => refresh(form, root)));
  refresh(form, root);
}

const mountAll = (within) => within.querySelectorAll("[data-params]").forEach(mount);
mountAll(document);
document.addEventListener("htmx:load", (event) => {
  if (event.target.matches?.("[data-params]")) mount(event.target);
  mountAll(event.target);
});
