// A WebSocket that comes back. Full jitter keeps a thousand browsers from returning in the same instant.
const FIRST_DELAY = 500;
const LONGEST_DELAY = 15000;
const FINAL_CODES = new Set([1000, 4401, 4403, 4404]);  // done, signed out, forbidden, gone: asking again is pointless

/**
 * const close = connect("/ws/jobs/<uid>/", { onMessage, onState, resume });
 *   onMessage(data)  one parsed JSON message
 *   onState(state)   "connected" | "reconnecting" | "closed"
 *   resume()         query parameters of the next connection, such as { since: 41 }
 * close.send(data)   one message to the server
 */
export function connect(path, { onMessage, onState = () => {}, resume = () => ({}) }) {
  let socket, timer, attempt = 0, finished = false;

  function open() {
    clearTimeout(timer);
    const url = new URL(path, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    for (const [name, value] of Object.entries(resume() ?? {})) {
      if (value !== undefined && value !== null) url.searchParams.set(name, value);
    }
    socket = new WebSocket(url);
    socket.addEventListener("open", () => { attempt = 0; onState("connected"); });
    socket.addEventListener("message", (event) => onMessage(JSON.parse(event.data)));
    socket.addEventListener("close", lost);
  }

  function lost({ code }) {
    if (finished) return;
    if (FINAL_CODES.has(code)) return end();
    onState("reconnecting");
    timer = setTimeout(open, Math.random() * Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** attempt++) + 100);
  }

  // A laptop that wakes up should not sit out its longest delay.
  const wake = () => { if (!finished && socket.readyState === WebSocket.CLOSED) open(); };
  addEventListener("online", wake);
  document.addEventListener("visibilitychange", wake);

  function end() {
    finished = true;
    clearTimeout(timer);
    removeEventListener("online", wake);
    document.removeEventListener("visibilitychange", wake);
    socket.close();
    onState("closed");
  }

  open();
  const close = () => finished || end();
  /** Send one message; false when there is no connection to send it on. */
  close.send = (message) => {
    if (socket.readyState !== WebSocket.OPEN) return false;
    socket.send(JSON.stringify(message));
    return true;
  };
  return close;
}
