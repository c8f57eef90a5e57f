// The submit form: a second click while the first is under way sends nothing twice (the uid would make it one job anyway).
const form = document.querySelector("form[data-submit]");

form.addEventListener("submit", (event) => {
  if (event.submitter?.hasAttribute("hx-post")) return;
  if (form.dataset.sent) return event.preventDefault();
  form.dataset.sent = "yes";
});
addEventListener("pageshow", () => delete form.dataset.sent);
