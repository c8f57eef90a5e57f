// The form of a schedule: each folded group says what is set in it, so that nothing has to be opened to be known.
const form = document.querySelector(".schedule-form");
const NEEDS_LABEL = new Set(["fold"]); // Of other choices the words are enough.

/** What is chosen says enough by itself; what is written has its label before it. */
function told(field) {
  const label = field.querySelector("label, legend")?.firstChild?.textContent.trim() ?? "";
  const boxes = [...field.querySelectorAll("[type=checkbox]")];
  if (boxes.length) {
    const chosen = boxes.filter((box) => box.checked).map((box) => box.closest("label").textContent.trim());
    const isList = field.querySelector("fieldset");
    return isList && chosen.length ? `${label}: ${chosen.join(", ")}` : chosen.join(", ");
  }
  const select = field.querySelector("select");
  if (select) {
    const words = select.selectedOptions[0]?.textContent.trim() ?? "";
    return NEEDS_LABEL.has(select.name) ? `${label}: ${words}` : words;
  }
  const value = field.querySelector("input, textarea")?.value.trim().replace("T", " ") ?? "";
  return value && `${label}: ${value.length > 40 ? `${value.slice(0, 40)}…` : value}`;
}

function tell(group) {
  const shown = [...group.querySelectorAll(".field")].filter(isAsked);
  group.querySelector("[data-group-now]").textContent = shown.map(told).filter(Boolean).join(" · ");
}

/** What the style sheet hides because of another choice says nothing. */
function isAsked(field) {
  const kind = form.querySelector("[name=kind]:checked")?.value;
  const past = form.querySelector("[name=depends_on_past]").value;
  const only = field.closest(".only-cron, .only-interval, .only-after, .only-past");
  return only === null || only.classList.contains(`only-${kind}`) || (only.matches(".only-past") && past !== "off");
}

const tellAll = () => form.querySelectorAll("[data-group]").forEach(tell);

form.addEventListener("input", tellAll);
form.addEventListener("change", tellAll);
addEventListener("pageshow", tellAll);
tellAll();
form.querySelector(".has-errors :is(input, textarea, select)")?.focus();
