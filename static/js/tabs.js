// <div data-tabs><div role="tablist"><a role="tab" href="#logs">…</a></div> <section id="logs" role="tabpanel">…
// The hash names the open tab, so a link can point at it. Without scripts every panel is simply there.
export function mount(root) {
  const tabs = [...root.querySelectorAll("[role=tab]")];
  const panel = (tab) => document.getElementById(tab.hash.slice(1));

  function open(tab, focus = false) {
    for (const other of tabs) {
      const chosen = other === tab;
      other.setAttribute("aria-selected", String(chosen));
      other.tabIndex = chosen ? 0 : -1;
      panel(other).hidden = !chosen;
    }
    if (focus) tab.focus();
    panel(tab).dispatchEvent(new CustomEvent("cube:shown", { bubbles: true }));
  }

  for (const tab of tabs) {
    tab.id ||= `tab-${tab.hash.slice(1)}`;
    tab.setAttribute("aria-controls", tab.hash.slice(1));
    panel(tab).setAttribute("role", "tabpanel");
    panel(tab).setAttribute("aria-labelledby", tab.id);
  }
  root.addEventListener("click", (event) => {
    const tab = event.target.closest("[role=tab]");
    if (!tab) return;
    event.preventDefault();
    history.replaceState(null, "", tab.hash);
    open(tab);
  });
  root.addEventListener("keydown", (event) => {
    const at = tabs.indexOf(event.target);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    const tab = tabs[(to + tabs.length) % tabs.length];
    history.replaceState(null, "", tab.hash);
    open(tab, true);
  });

  const named = () => tabs.find((tab) => tab.hash === location.hash);
  addEventListener("hashchange", () => named() && open(named()));
  open(named() ?? tabs[0]);
}
