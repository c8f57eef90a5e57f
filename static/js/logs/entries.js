// From lines to what stands in the list: one entry a line, one for a group of identical lines of many pods, one for what
// was opened below a line. An entry is kept with its line, so a row that is drawn stays drawn.
const TOGETHER_MS = 2000;  // the same words of two pods are one event within this time

/**
 * The entries of `lines`; sets `at`, the index of its entry, on every line.
 *   wanted(line)   whether it is shown
 *   podOf(line)    what it is grouped across, or null for no grouping
 */
export function entriesOf(lines, { wanted, podOf }) {
  const shown = [];
  for (const line of lines) {
    line.at = -1;
    if (wanted(line)) shown.push(line);
  }
  const heads = podOf ? grouped(shown, podOf) : shown.map(alone);
  const entries = [];
  for (const { line, members } of heads) {
    place(entries, line, members);
    if (!members) continue;
    if (line.spread) for (const member of members.slice(1)) place(entries, member, null, true);
    else for (const member of members) member.at = line.at;
  }
  return entries;
}

const alone = (line) => ({ line, members: null });

function place(entries, line, members, isChild = false) {
  const count = members?.length ?? 1;
  if (!line.entry || line.entry.count !== count || line.entry.isChild !== isChild) {
    line.entry = { line, kind: line.k === "gap" ? "gap" : "line", count, isChild, members };
  }
  line.entry.members = members;
  line.at = entries.length;
  entries.push(line.entry);
  if (line.panel) entries.push(line.panel);
}

/** Heads in order of their first line. No pod's own lines change their order by this. */
function grouped(lines, podOf) {
  const heads = [];
  const latest = new Map();    // text -> its latest head
  const reached = new Map();   // pod -> position of the head its last line went to
  for (const line of lines) {
    const pod = podOf(line);
    const head = line.k ? null : latest.get(line.m);
    if (head && head.pod !== pod && !head.pods?.has(pod) && head.position > (reached.get(pod) ?? -1) && near(head.line, line)) {
      (head.members ??= [head.line]).push(line);
      (head.pods ??= new Set()).add(pod);
      reached.set(pod, head.position);
      continue;
    }
    const fresh = { line, members: null, pod, pods: null, position: heads.length };
    heads.push(fresh);
    reached.set(pod, fresh.position);
    if (!line.k) latest.set(line.m, fresh);
  }
  return heads;
}

function near(one, other) {
  if (one.t.slice(0, 19) === other.t.slice(0, 19)) return true;
  return Math.abs(Date.parse(one.t) - Date.parse(other.t)) <= TOGETHER_MS;
}
