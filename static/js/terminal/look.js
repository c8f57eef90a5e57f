// The terminal in the portal's colours, light and dark.
const COLOURS = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];

export function look() {
  const style = getComputedStyle(document.documentElement);
  const value = (name) => style.getPropertyValue(name).trim();
  const theme = {
    background: value("--cube-log-paper"), foreground: value("--cube-log-ink"), cursor: value("--cube-accent-ink"),
    cursorAccent: value("--cube-log-paper"), selectionBackground: value("--cube-mark"), selectionForeground: "#16232c",
  };
  COLOURS.forEach((name, n) => {
    theme[name] = value(`--ansi-${n}`);
    theme[`bright${name[0].toUpperCase()}${name.slice(1)}`] = value(`--ansi-${n}`);
  });
  return theme;
}

/** Calls back whenever the page turns light or dark. */
export function onLook(changed) {
  new MutationObserver(() => changed(look())).observe(document.documentElement, { attributeFilter: ["data-bs-theme"] });
}
