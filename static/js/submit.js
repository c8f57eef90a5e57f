// The submit form: Ctrl+Enter sends it, the preview comes into view, the first complaint has the focus, and a second
// click while the first is under way sends nothing twice (the uid would make it one job anyway).
const form = document.querySelector("form[data-submit]");
const preview = document.getElementById("preview");

form.addEventListener("submit", (event) => {
  if (event.submitter?.hasAttribute("hx-post")) return;
  if (form.dataset.sent) return event.preventDefault();
  form.dataset.sent = "yes";
});
form.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  form.requestSubmit(form.querySelector(".btn-primary"));
});
preview.addEventListener("htmx:afterSwap", () => preview.scrollIntoView({ block: "nearest" }));
addEventListener("pageshow", () => delete form.dataset.sent);
form.querySelector(".has-errors :is(input, textarea, select)")?.focus();
