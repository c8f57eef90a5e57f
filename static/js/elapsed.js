// Running durations tick in the page: <span data-elapsed-since="2026-…">. The same form as the server's `duration` filter.
const two = (n) => String(n).padStart(2, "0");

export function words(seconds) {
  const [hours, minutes, left] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60), seconds % 60];
  if (hours) return `${hours}h ${two(minutes)}m`;
  return minutes ? `${minutes}m ${two(left)}s` : `${left}s`;
}

function tick() {
  for (const element of document.querySelectorAll("[data-elapsed-since]")) {
    const seconds = Math.max(0, Math.round((Date.now() - Date.parse(element.dataset.elapsedSince)) / 1000));
    element.textContent = words(seconds);
  }
}

setInterval(() => document.hidden || tick(), 1000);
tick();
