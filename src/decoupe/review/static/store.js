// The photos and what was decided about them, the same in all tabs.

import { ALBUM, SESSION, VERDICTS, ask, storing, tell } from "./core.js";

export const store = {
  files: [], verdicts: [], corrected: new Set(), revisions: new Map(), confidence: [], disagreement: [],
  revision: 0, naming: 0, done: 0,
};
const watchers = new Set();
const channel = new BroadcastChannel("decoupe-review");

/** Call `run(numbers)` after photos changed; numbers is null where all may have. */
export const watch = (run) => watchers.add(run);
const changed = (numbers) => watchers.forEach((run) => run(numbers));

export async function load() {
  const all = await ask("/api/photos");
  Object.assign(store, {
    files: all.files, verdicts: [...all.verdicts], corrected: new Set(all.corrected), revision: all.revision,
    revisions: new Map(Object.entries(all.revisions).map(([k, v]) => [Number(k), v])), naming: all.naming,
  });
  scores(all);
  if (store.done < store.files.length) setTimeout(progress, 1500);
}

function scores(all) {
  Object.assign(store, { confidence: all.confidence, disagreement: all.disagreement, done: all.done });
}

/** Ask how far the look at all photos is, and fetch its figures now and then. */
async function progress() {
  try {
    const now = await ask("/api/scores");
    const step = Math.max(64, store.files.length / 10);
    if (now.done === now.count || now.done - store.done >= step) {
      scores(await ask("/api/scores?all=1"));
      changed(null);
    }
    if (now.done < now.count) setTimeout(progress, document.hidden ? 8000 : 2000);
  } catch { setTimeout(progress, 10000); }
}

export function put(number, state) {
  store.verdicts[number] = state.verdict;
  if (state.corrected) store.corrected.add(number); else store.corrected.delete(number);
  store.revisions.set(number, state.revision);
}

/** Take up what other tabs did. */
export async function refresh() {
  try {
    const news = await ask(`/api/changes?since=${store.revision}`);
    const numbers = Object.keys(news.photos).map(Number);
    for (const number of numbers) put(number, news.photos[number]);
    const renamed = news.naming !== store.naming;
    Object.assign(store, { revision: news.revision, naming: news.naming });
    if (numbers.length || renamed) changed(renamed ? null : numbers);
  } catch { /* the next one will tell */ }
}
channel.addEventListener("message", refresh);
addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
export const announce = () => channel.postMessage("changed");

let queue = Promise.resolve();
/** Judge a photo: shown at once, stored in order. */
export function judge(number, letter) {
  const before = store.verdicts[number];
  store.verdicts[number] = letter;
  changed([number]);
  queue = queue.then(() => storing(async () => {
    try {
      const reply = await ask(`/api/judge/${number}`, { json: { verdict: VERDICTS[letter] ?? null } });
      put(number, reply.photo);
    } catch (error) {
      store.verdicts[number] = before;
      throw error;
    } finally {
      changed([number]);
    }
    announce();
  }));
  return queue;
}

/** Take back this tab's latest verdict; the number of the photo, or undefined. */
export function undo() {
  const result = queue.then(() => storing(async () => {
    const reply = await ask("/api/undo", { json: {} });
    if (!reply.photo) { tell("Nothing to undo in this tab", "info"); return undefined; }
    if (reply.number === null) return undefined;
    put(reply.number, reply.photo);
    changed([reply.number]);
    announce();
    return reply.number;
  }));
  queue = result.then(() => undefined);
  return result;
}

const stamp = (number) => `${SESSION}.${store.naming}.${store.corrected.has(number) ? store.revisions.get(number) : 0}`;
export const thumb = (number) => `/photo/${number}/thumb.jpg?v=${ALBUM}`;
export const view = (number) => `/photo/${number}/view.jpg?v=${ALBUM}`;
export const mask = (number, side = "view") => `/mask/${number}/${side}.png?v=${stamp(number)}`;
export const stamped = (path, number) => `${path}?v=${stamp(number)}`;

/** A figure of the scan in words. */
export function figure(values, number) {
  const value = values[number];
  return value === undefined || value === -1 ? "…" : value === -2 ? "unreadable" : `${(value / 100).toFixed(1)} %`;
}

/** Numbers of photos in an order, of a kind. Unknown figures come last. */
export function listed(order, kind) {
  const { verdicts, corrected, confidence, disagreement } = store;
  const fits = { all: () => true, open: (i) => verdicts[i] === ".", c: (i) => corrected.has(i) }[kind] ?? ((i) => verdicts[i] === kind);
  const found = [];
  for (let i = 0; i < store.files.length; i += 1) if (fits(i)) found.push(i);
  const by = { unsure: [confidence, 1], sure: [confidence, -1], torn: [disagreement, -1] }[order];
  if (!by) return found;
  const [values, sign] = by;
  const key = (i) => (values[i] < 0 || values[i] === undefined ? Infinity : sign * values[i]);
  return found.sort((a, b) => key(a) - key(b) || a - b);
}

export function tally() {
  const count = { ".": 0, a: 0, r: 0, f: 0 };
  for (const letter of store.verdicts) count[letter] += 1;
  return count;
}
