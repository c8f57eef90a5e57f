// One terminal's socket: bytes both ways, and never more on their way than a window (apps/jobs/relay.py has its twin).
const TYPED_WINDOW = 64 * 1024;
const CHUNK = 4 * 1024;
const DRAWN_STEP = 32 * 1024;  // told at once, well below the server's window

/**
 * const link = open("/ws/…/terminal/", { draw, onMessage, onClose });
 *   draw(bytes, done)  show bytes, and call `done` when they have been drawn
 *   onMessage(message) what the server says: terminal.opened, .ended, .refused, …
 *   onClose(code)
 * link.type(text), link.typeBytes(bytes), link.resize(columns, rows), link.close()
 */
export function open(path, { draw, onMessage, onClose }) {
  const url = new URL(path, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  const encoder = new TextEncoder();
  let waiting = [], flying = 0, drawn = 0, ready = false, size = null;

  const order = (message) => socket.readyState === WebSocket.OPEN && socket.send(JSON.stringify(message));

  function pump() {
    while (ready && waiting.length && flying + waiting[0].length <= TYPED_WINDOW) {
      const chunk = waiting.shift();
      flying += chunk.length;
      socket.send(chunk);
    }
  }

  function shown(count) {
    drawn += count;
    if (drawn < DRAWN_STEP) return;
    order({ type: "drawn", bytes: drawn });
    drawn = 0;
  }

  function told(message) {
    if (message.type === "terminal.opened") {
      ready = true;
      if (size) order(size);
    }
    if (message.type === "terminal.took") flying -= message.bytes;
    pump();
    onMessage(message);
  }

  socket.addEventListener("message", ({ data }) => {
    if (typeof data === "string") return told(JSON.parse(data));
    draw(new Uint8Array(data), () => shown(data.byteLength));
  });
  socket.addEventListener("close", ({ code }) => {
    ready = false;
    waiting = [];
    onClose(code);
  });

  function typeBytes(bytes) {
    for (let start = 0; start < bytes.length; start += CHUNK) waiting.push(bytes.slice(start, start + CHUNK));
    pump();
  }

  return {
    typeBytes,
    type: (text) => typeBytes(encoder.encode(text)),
    resize(columns, rows) {
      size = { type: "resize", columns, rows };
      if (ready) order(size);
    },
    close: () => socket.close(1000),
  };
}
