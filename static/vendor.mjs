// Copies the third-party files the portal really uses from node_modules into static/vendor/ (git-ignored).
// Run by `npm run build` at set-up; nothing is downloaded when the portal runs.
// flow.mjs is bundled: React's family of packages has no ES modules.
import { build } from "esbuild";
import { cp, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const modules = join(here, "..", "node_modules");
const vendor = join(here, "vendor");

// Add a name here, run `npm run build`, and {% include "components/icon.html" with name=… %} can draw it.
const ICONS = `
  activity adjustments alert-circle alert-triangle arrow-back-up arrow-bar-to-down arrow-left arrow-right arrows-maximize ban bell bolt book bookmark box brackets
  brand-python briefcase  bug building calendar calendar-time chart-bar chart-line check checkbox chevron-down chevron-left chevron-right chevron-up
  circle-check circle-x clock cloud code copy cpu cube cube-3d-sphere database device-desktop dots dots-vertical
  download edit external-link eye file file-code file-text file-zip filter flask folder folder-open git-branch help home inbox
  info-circle key keyboard layers-linked layout-grid letter-case list list-details lock lock-open login logout mail map menu-2 message moon
  package photo player-pause player-play player-skip-forward player-stop plug plug-connected-x plus refresh regex repeat rocket route search
  selector send server server-2 settings shield-lock stack-2 sun tag template terminal-2 text-wrap ticket-off tools
  trash upload user user-circle user-plus users variable world x
  arrow-forward-up arrows-split-2 circle-dot file-export file-import focus-centered gauge git-compare hash history hourglass link palette rotate shield-check sitemap table timeline topology-star-3 versions zoom-in zoom-out`.trim().split(/\s+/);

// A status differs by shape as well as by colour: status_badge.html draws #status-<status>.
const STATUS_ICONS = {
  queued: "clock", starting: "loader", running: "player-play", succeeded: "circle-check", failed: "circle-x",
  stopping: "progress-x", stopped: "ban", pending: "clock", unknown: "help", healthy: "circle-check",
  unreachable: "plug-connected-x", waiting: "clock-pause", ready: "clock", submitted: "loader", skipped: "player-skip-forward",
  upstream_failed: "circle-minus", ignored: "circle-check",
};

// Some of Tabler's files name source maps we do not ship; hashed static storage would look for them.
const withoutSourceMap = (text) => text.replace(/\n?\/[/*]# sourceMappingURL=[^\n]*/g, "");

async function copyText(from, to) {
  await writeFile(join(vendor, to), withoutSourceMap(await readFile(join(modules, from), "utf8")));
}

async function copyFont(name) {
  const folder = join(modules, "@fontsource-variable", name);
  const css = await readFile(join(folder, "index.css"), "utf8");
  for (const [, file] of css.matchAll(/url\(\.\/files\/([^)]+)\)/g)) {
    await cp(join(folder, "files", file), join(vendor, "fonts", file));
  }
  return css.replaceAll("./files/", "fonts/");
}

async function symbol(id, icon) {
  const svg = await readFile(join(modules, "@tabler/icons/icons/outline", `${icon}.svg`), "utf8");
  const drawing = svg.slice(svg.indexOf("<svg")).replace(/^<svg[^>]*>/, "").replace("</svg>", "").trim();
  return `<symbol id="${id}" viewBox="0 0 24 24">${drawing.replace(/\s*\n\s*/g, "")}</symbol>`;
}

await rm(vendor, { recursive: true, force: true });
await mkdir(join(vendor, "fonts"), { recursive: true });

await copyText("@tabler/core/dist/css/tabler.min.css", "tabler.min.css");
await copyText("htmx.org/dist/htmx.min.js", "htmx.min.js");
await copyText("idiomorph/dist/idiomorph.esm.js", "idiomorph.js");
await copyText("@xterm/xterm/lib/xterm.mjs", "xterm.js");
await copyText("@xterm/addon-fit/lib/addon-fit.mjs", "xterm-fit.js");
await copyText("@xterm/xterm/css/xterm.css", "xterm.css");

await build({
  entryPoints: [join(here, "flow.mjs")],
  outfile: join(vendor, "flow.js"),
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  legalComments: "none",
  logLevel: "error",
  define: { "process.env.NODE_ENV": '"production"' },
  alias: { react: "preact/compat", "react-dom": "preact/compat", "react/jsx-runtime": "preact/jsx-runtime" },
});
await copyText("@xyflow/react/dist/base.css", "flow.css");

const fonts = await Promise.all(["inter", "jetbrains-mono"].map(copyFont));
await writeFile(join(vendor, "fonts.css"), fonts.join("\n"));

const symbols = await Promise.all([
  ...[...new Set(ICONS)].sort().map((icon) => symbol(icon, icon)),
  ...Object.entries(STATUS_ICONS).map(([status, icon]) => symbol(`status-${status}`, icon)),
]);
await writeFile(join(vendor, "icons.svg"), `<svg xmlns="http://www.w3.org/2000/svg">\n${symbols.join("\n")}\n</svg>\n`);

const shipped = await readdir(vendor, { recursive: true });
console.log(`static/vendor: ${shipped.length} files, ${symbols.length} icons`);
