// Filters the project switcher while typing; arrows walk the list.
export function mount(menu) {
  const find = menu.querySelector("[data-switcher-find]");
  const none = menu.querySelector("[data-switcher-none]");
  const entries = [...menu.querySelectorAll("li[data-name]")];
  const shown = () => entries.filter((entry) => !entry.hidden).map((entry) => entry.querySelector("a"));

  function filter() {
    const words = find.value.toLowerCase().trim().split(/\s+/);
    for (const entry of entries) {
      entry.hidden = !words.every((word) => entry.dataset.name.toLowerCase().includes(word));
    }
    none.hidden = shown().length > 0;
  }

  menu.addEventListener("toggle", () => {
    if (!menu.open) return;
    find.value = "";
    filter();
    find.focus();
  });
  find.addEventListener("input", filter);
  menu.addEventListener("keydown", (event) => {
    const links = shown();
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Enter" && event.target === find) links[0]?.click();
    if (!step || !links.length) return;
    event.preventDefault();
    const next = links.indexOf(document.activeElement) + step;
    (next < 0 ? find : links[Math.min(next, links.length - 1)]).focus();
  });
}
