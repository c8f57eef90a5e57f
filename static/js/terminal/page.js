// The page of a debug session: waits for its container, opens a terminal in it, and says what ended when it ends.
import { fetchFragment, refresher, replaceParts } from "cube/refresh";
import { connect } from "cube/socket";
import { open } from "cube/terminal/link";
import { look, onLook } from "cube/terminal/look";
import "cube/terminal/styles";
import { Terminal } from "cube/vendor/xterm";
import { FitAddon } from "cube/vendor/xterm-fit";

const page = document.querySelector("[data-terminal-page]");
const part = (role) => page.querySelector(`[data-role="${role}"]`);
const words = page.dataset;
const CLOSED = {
  1000: "textEnded", 4401: "textGone", 4403: "textGone", 4404: "textOver", 4408: "textIdle", 4410: "textOver",
};

const terminal = new Terminal({
  cursorBlink: false, fontFamily: getComputedStyle(document.documentElement).getPropertyValue("--cube-mono"),
  fontSize: 13, scrollback: 5000, theme: look(), minimumContrastRatio: 4.5,
});
const fit = new FitAddon();
terminal.loadAddon(fit);
let link = null, refusal = "", opened = false;

function say(text, state) {
  part("state").textContent = text;
  part("state").dataset.state = state;
}

const running = () => document.getElementById("terminal-head").dataset.status === "running";

function start() {
  if (link || !running()) return;
  refusal = "";
  part("again").hidden = true;
  say(words.textOpening, "reconnecting");
  terminal.reset();
  link = open(words.terminal, {
    draw: (bytes, done) => terminal.write(bytes, done),
    onMessage: told,
    onClose: closed,
  });
  link.resize(terminal.cols, terminal.rows);
}

function told(message) {
  if (message.type === "terminal.opened") {
    say(words.textOpen, "connected");
    terminal.focus();
  }
  if (message.type === "terminal.refused") refusal = message.text;
}

function closed(code) {
  link = null;
  say(refusal || words[CLOSED[code]] || words.textLost, "closed");
  part("again").hidden = !running() || code === 4401 || code === 4403;
}

function arrange() {
  if (part("screen").clientWidth) fit.fit();
}

terminal.open(part("screen"));
terminal.onData((text) => link?.type(text));
terminal.onBinary((text) => link?.typeBytes(Uint8Array.from(text, (letter) => letter.charCodeAt(0))));
terminal.onResize(({ cols, rows }) => link?.resize(cols, rows));
// The terminal takes the Tab key for itself, so there has to be another way out.
terminal.attachCustomKeyEventHandler((event) => {
  if (event.key !== "Escape" || !event.shiftKey) return true;
  if (event.type === "keydown") part("reader").focus();
  return false;
});
part("again").addEventListener("click", start);
part("reader").addEventListener("change", ({ target }) => { terminal.options.screenReaderMode = target.checked; });
onLook((theme) => { terminal.options.theme = theme; });
new ResizeObserver(arrange).observe(part("screen"));
document.fonts.ready.then(arrange);

const soon = refresher(async () => {
  const fresh = await fetchFragment(words.url);
  if (!fresh) return;
  replaceParts(["terminal-head"], fresh);
  if (!link && !part("again").hidden && !running()) part("again").hidden = true;
  if (!opened && running()) begin();
}, 80);

function begin() {
  opened = true;
  start();
}

arrange();
if (running()) begin();
connect(words.socket, { onMessage: soon });
