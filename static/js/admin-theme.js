// One theme for portal and console: Unfold keeps its wish under a name of its own, so it is handed over at both ends.
(() => {
  const [OURS, THEIRS] = ["cube.theme", "adminTheme"];
  try {
    const wish = localStorage.getItem(OURS) || "system";
    localStorage.setItem(THEIRS, JSON.stringify(wish === "system" ? "auto" : wish));
    addEventListener("pagehide", () => {
      const chosen = JSON.parse(localStorage.getItem(THEIRS) || '"auto"');
      localStorage.setItem(OURS, chosen === "auto" ? "system" : chosen);
    });
  } catch { /* Private windows may refuse. */ }
})();
