// Blocking on purpose, and tiny: the theme is right before the first pixel is drawn.
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const wish = () => { try { return localStorage.getItem("cube.theme") || "system"; } catch { return "system"; } };
  const apply = () => {
    root.dataset.theme = wish();
    root.dataset.bsTheme = wish() === "dark" || (wish() === "system" && dark.matches) ? "dark" : "light";
  };

  dark.addEventListener("change", apply);
  addEventListener("storage", apply);
  document.addEventListener("click", (event) => {
    const choice = event.target.closest?.("[data-theme-choice]");
    if (!choice) return;
    try { localStorage.setItem("cube.theme", choice.dataset.themeChoice); } catch { /* Private windows may refuse. */ }
    apply();
  });
  apply();
})();
