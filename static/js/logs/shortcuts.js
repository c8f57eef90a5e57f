// Keys, while the log (or nothing at all) has the focus; the template's sheet lists them.
const TYPING = "input, textarea, select, [contenteditable]";

export function listen(view) {
  const { element, part } = view;
  const click = (role) => () => part[role].click();
  const keys = {
    "/": () => { part.find.focus(); part.find.select(); },
    n: () => view.find.step(1),
    N: () => view.find.step(-1),
    f: () => view.toggleFollow(),
    w: click("wrap"),
    t: click("times"),
    g: () => view.toHead(),
    G: () => view.toTail(),
    e: () => view.firstError(),
    F: () => view.toggleFull(),
    c: () => view.copy(),
    s: click("filter"),
    "?": () => part.help.showModal(),
    Escape: () => view.escape(),
  };

  document.addEventListener("keydown", (event) => {
    const { target } = event;
    const isOurs = element.contains(target) || target === document.body;
    if (!isOurs || event.defaultPrevented || element.offsetParent === null && !view.isFull) return;
    if (document.querySelector("dialog[open]")) return;
    if ((event.ctrlKey || event.metaKey) && !event.altKey && element.contains(target)) {
      if (event.key.toLowerCase() === "f") { event.preventDefault(); keys["/"](); }
      if (event.key.toLowerCase() === "a" && target === part.body) { event.preventDefault(); view.selectAll(); }
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || target.closest?.(TYPING)) return;
    const act = keys[event.key];
    if (!act) return;
    if (event.key !== "Escape") event.preventDefault();
    act();
  });

  part.body.addEventListener("keydown", (event) => {
    if (event.target !== part.body || event.ctrlKey || event.metaKey) return;
    if (event.key === "Home") { event.preventDefault(); view.toHead(); }
    if (event.key === "End") { event.preventDefault(); view.toTail(); }
  });
}
