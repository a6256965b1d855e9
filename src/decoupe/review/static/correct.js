// Correcting a mask: brush, eraser, polygon, and scribbles that the server carries to the photo's edges.

import { $, ALBUM, Refused, ask, el, keys, loaded, pack, storing, tell, unpack } from "./core.js";
import { announce, judge, listed, load, store, watch } from "./store.js";
import { Mask } from "./mask.js";
import { View, ink } from "./canvas.js";

const NONE = 255;
const view = new View($("#canvas"));
let number = 0, about = null, mask = null, tool = "brush", region = -1, cross = [0, 0], keyed = false, pen = false;
let points = [], strokes = null, touched = false, last = null, stale = false;
const fingers = new Map();

/* ---- opening a photo ---- */

async function open(n) {
  await settled();
  try {
    const facts = await ask(`/api/photo/${n}`);
    const [photo, reply] = await Promise.all([loaded(`/photo/${n}/view.jpg?v=${ALBUM}`), ask(`/labels/${n}`, { raw: true })]);
    const labels = await unpack(reply);
    [number, about, points, strokes, stale] = [n, facts, [], null, false];
    mask = new Mask(facts.width, facts.height, labels);
    view.open(photo, mask, facts.regions);
  } catch (error) { tell(error.message); return; }
  cross = [about.width / 2, about.height / 2];
  if (!about.regions.some((r) => r.index === region)) region = (about.regions.find((r) => !r.background) ?? about.regions[0]).index;
  $("#size").value = Math.max(3, Math.round(Math.max(about.width, about.height) / 45));
  history.replaceState(null, "", `/correct?photo=${n}`);
  palette();
  facts();
  document.body.dataset.photo = n;
}

function facts() {
  const verdict = { a: "accepted", r: "rejected", f: "flagged" }[store.verdicts[number]];
  $("#file").textContent = [about?.file, verdict, store.corrected.has(number) ? "corrected" : null].filter(Boolean).join(" · ");
  $("#undo").disabled = !mask?.past.length;
  $("#redo").disabled = !mask?.future.length;
  $("#reset").disabled = !store.corrected.has(number);
}

function palette() {
  $("#palette").replaceChildren(...about.regions.map((r, i) => {
    const dot = el("i", { className: r.background ? "dot ground" : "dot", style: { "--dot": `rgb(${r.colour.join()})` } });
    return el("button", { type: "button", role: "radio", "aria-checked": String(r.index === region), title: `${r.name} (${i + 1})`,
      on: { click: () => choose(r.index) } }, dot, el("span", { textContent: r.name }), i < 9 ? el("kbd", { textContent: i + 1 }) : null);
  }));
}

function choose(index) { region = index; palette(); view.draw(); }

function use(name) {
  tool = name;
  points = [];
  pen = false;
  for (const button of $("#tools").children) button.setAttribute("aria-checked", String(button.dataset.tool === name));
  $("#canvas").dataset.tool = name;
  view.draw();
}

/* ---- storing ---- */

let dirty = false, work = null;
/** Store the mask; while one is on its way the next waits, and only the latest is sent. */
function keep(force = false) {
  dirty = true;
  work ??= (async () => {
    while (dirty && !stale) {
      dirty = false;
      const [n, seen] = [number, about.revision];
      await storing(async () => {
        try {
          const bytes = await pack(mask.labels);
          const reply = await ask(`/labels/${n}?seen=${force ? 1e12 : seen}`, { bytes, method: "PUT" });
          about.revision = reply.photo.revision;
          store.verdicts[n] = reply.photo.verdict;
          store.corrected.add(n);
          store.revisions.set(n, reply.photo.revision);
          announce();
        } catch (error) {
          if (!(error instanceof Refused) || !error.stale) throw error;
          stale = true;
          $("#stale").showModal();
        }
      });
      facts();
    }
  })().finally(() => { work = null; });
  return work;
}
const settled = async () => { while (work) await work; };
$("#theirs").addEventListener("click", () => { $("#stale").close(); stale = false; dirty = false; open(number); });
$("#mine").addEventListener("click", () => { $("#stale").close(); stale = false; settled().then(() => keep(true)); });

function finish() {
  const box = mask.end();
  if (box) { view.tint(box); keep(); }
  facts();
}

/* ---- tools ---- */

const radius = () => Number($("#size").value) / 2;
const ground = () => about.regions.find((r) => r.background)?.index;
let model = null;
/** What the eraser leaves: the background, or where there is none the model's own mask. */
async function under() {
  if (ground() !== undefined) return () => ground();
  if (model?.n !== number) model = { n: number, labels: await unpack(await ask(`/labels/${number}?of=model`, { raw: true })) };
  return (i) => model.labels[i];
}
let value = () => region;

async function down(at) {
  if (tool === "polygon") { corner(at); return; }
  last = at;
  if (tool === "scribble") {
    strokes ??= new Uint8Array(mask.labels.length).fill(NONE);
    mask.line(at, at, thin(), () => region, strokes);
    path = [[region, thin(), [at]]];
    touched = true;
    view.draw();
    return;
  }
  mask.begin();
  touched = true;
  value = () => region;
  if (tool === "eraser") value = await under();
  view.tint(mask.line(at, at, radius(), value));
}
let path = [];
const thin = () => Math.max(1.5, radius() / 3);

function drag(at) {
  if (!touched) return;
  if (tool === "scribble") {
    mask.line(last, at, thin(), () => region, strokes);
    path.at(-1)[2].push(at);
    view.draw();
  } else if (mask.before) view.tint(mask.line(last, at, radius(), value));
  last = at;
}

function up() {
  if (!touched) return;
  touched = false;
  if (tool === "scribble") snap(); else if (mask.before) finish();
}

function cancel() {
  touched = false;
  if (mask?.before) view.tint(mask.cancel());
  strokes = null;
  path = [];
  view.draw();
}

async function snap() {
  if (!strokes) return;
  const lines = strokes, n = number;
  strokes = null;
  const both = new Uint8Array(2 * lines.length);
  both.set(mask.labels);
  both.set(lines, lines.length);
  $("#busy").hidden = false;
  try {
    const reply = await ask(`/api/scribble/${n}`, { bytes: await pack(both), raw: true });
    const labels = await unpack(reply);
    if (n !== number) return;
    mask.begin();
    mask.replace(labels);
    finish();
  } catch (error) { tell(error.message); } finally {
    $("#busy").hidden = true;
    path = [];
    view.draw();
  }
}

function corner(at) {
  if (points.length > 2) {
    const [a, b] = [view.from(points[0]), view.from(at)];
    if (Math.hypot(a[0] - b[0], a[1] - b[1]) < 12) { close(); return; }
  }
  points.push(at);
  view.draw();
}

function close() {
  if (points.length > 2) { mask.begin(); mask.polygon(points, region); points = []; finish(); }
  points = [];
  view.draw();
}

function turn(which) {
  if (!mask || mask.before) return;
  const box = mask[which]();
  if (box) { view.tint(box); keep(); }
  facts();
}

/* ---- mouse, pen, fingers ---- */

const canvas = $("#canvas");
const spot = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
let grip = null;

canvas.addEventListener("pointerdown", (event) => {
  if (!mask) return;
  canvas.focus({ preventScroll: true });
  canvas.setPointerCapture(event.pointerId);
  fingers.set(event.pointerId, spot(event));
  keyed = false;
  if (fingers.size === 2) { cancel(); points = points.slice(0, -1); grip = pinch(); return; }
  if (event.button === 1 || tool === "hand") { grip = { moved: spot(event) }; return; }
  if (event.button === 0 && fingers.size === 1) down(view.to(spot(event)));
});
canvas.addEventListener("pointermove", (event) => {
  if (!mask) return;
  const at = spot(event);
  if (fingers.has(event.pointerId)) fingers.set(event.pointerId, at);
  cross = view.to(at);
  if (fingers.size === 2) {
    const now = pinch();
    view.pan(now.at[0] - grip.at[0], now.at[1] - grip.at[1]);
    view.zoom(now.span / grip.span, now.at);
    grip = now;
  } else if (grip?.moved) { view.pan(at[0] - grip.moved[0], at[1] - grip.moved[1]); grip.moved = at; }
  else if (touched) for (const part of event.getCoalescedEvents?.().length ? event.getCoalescedEvents() : [event]) drag(view.to(spot(part)));
  view.draw();
});
for (const kind of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(kind, (event) => {
    fingers.delete(event.pointerId);
    if (grip) { if (fingers.size === 0) grip = null; return; }
    if (kind === "pointerup") up(); else cancel();
  });
}
canvas.addEventListener("dblclick", () => { if (tool === "polygon") close(); });
canvas.addEventListener("wheel", (event) => { event.preventDefault(); if (mask) view.zoom(Math.exp(-event.deltaY / 400), spot(event)); }, { passive: false });
canvas.addEventListener("contextmenu", (event) => event.preventDefault());
const pinch = () => {
  const [a, b] = [...fingers.values()];
  return { at: [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2], span: Math.max(10, Math.hypot(a[0] - b[0], a[1] - b[1])) };
};

view.extra = (pen2d) => ink(pen2d, view, {
  path, points, cross, crossed: keyed || tool === "polygon", regions: about?.regions ?? [], region,
  size: { brush: radius(), eraser: radius(), scribble: thin() }[tool],
});

/* ---- keys and buttons ---- */

function move(dx, dy, event) {
  if (!mask) return;
  keyed = true;
  const step = (event.shiftKey ? 24 : 4) / view.scale;
  cross = [Math.max(0, Math.min(cross[0] + dx * step, mask.width - 0.01)), Math.max(0, Math.min(cross[1] + dy * step, mask.height - 0.01))];
  const [x, y] = view.from(cross), edge = 30;
  view.pan(x < edge ? edge - x : x > view.wide - edge ? view.wide - edge - x : 0, y < edge ? edge - y : y > view.high - edge ? view.high - edge - y : 0);
  if (pen) drag(cross);
  view.draw();
}

function space() {
  if (!mask) return;
  keyed = true;
  if (tool === "polygon") { corner(cross); return; }
  pen = !pen;
  if (pen) down(cross); else up();
}

function toggle() {
  view.hidden = !view.hidden;
  $("#toggle").setAttribute("aria-pressed", String(view.hidden));
  view.draw();
}

async function step(by) {
  const list = listed("file", $("#through").value);
  if (!list.length) { tell("No photo of that kind", "info"); return; }
  const at = list.findIndex((n) => n >= number);
  const here = at >= 0 && list[at] === number;
  const to = by > 0 ? (here ? at + 1 : at < 0 ? list.length : at) : (at < 0 ? list.length : at) - 1;
  if (to < 0 || to >= list.length) { tell(by > 0 ? "That was the last one" : "This is the first one", "info"); return; }
  await open(list[to]);
}

async function accept() {
  await settled();
  await judge(number, "a");
  about.revision = Math.max(about.revision, store.revisions.get(number) ?? 0);
  facts();
  step(1);
}

async function reset() {
  await settled();
  const reply = await storing(() => ask(`/api/reset/${number}`, { json: { seen: about.revision } }));
  if (!reply) return;
  store.corrected.delete(number);
  store.verdicts[number] = reply.photo.verdict;
  announce();
  open(number);
}

const size = (by) => { $("#size").value = Math.max(1, Math.round(Number($("#size").value) * by + Math.sign(by - 1))); view.draw(); };
const table = {
  b: () => use("brush"), e: () => use("eraser"), p: () => use("polygon"), s: () => use("scribble"), h: () => use("hand"),
  "[": () => size(0.85), "]": () => size(1.18), " ": space, Enter: close,
  Escape: () => { points = []; pen = false; cancel(); }, Backspace: () => { points.pop(); view.draw(); },
  ArrowLeft: (e) => move(-1, 0, e), ArrowRight: (e) => move(1, 0, e), ArrowUp: (e) => move(0, -1, e), ArrowDown: (e) => move(0, 1, e),
  "+": () => view.zoom(1.3), "=": () => view.zoom(1.3), "-": () => view.zoom(1 / 1.3), 0: () => view.fit(),
  u: () => turn("undo"), y: () => turn("redo"), "ctrl+z": () => turn("undo"), "ctrl+shift+z": () => turn("redo"), "ctrl+y": () => turn("redo"),
  m: toggle, a: accept, ".": () => step(1), ",": () => step(-1),
};
for (let i = 1; i <= 9; i += 1) table[i] = () => { const r = about?.regions[i - 1]; if (r) choose(r.index); };
keys(table);
$("#tools").addEventListener("click", (event) => { const button = event.target.closest("button"); if (button) use(button.dataset.tool); });
const press = { undo: () => turn("undo"), redo: () => turn("redo"), in: () => view.zoom(1.3), out: () => view.zoom(1 / 1.3),
  fit: () => view.fit(), toggle, back: () => step(-1), forward: () => step(1), accept, reset };
for (const [id, run] of Object.entries(press)) $(`#${id}`).addEventListener("click", run);
$("#size").addEventListener("input", () => view.draw());
$("#through").addEventListener("change", (event) => event.target.blur());

watch(() => { if (about) facts(); });
await load();
use("brush");
const asked = Number(new URLSearchParams(location.search).get("photo") ?? listed("file", "f")[0] ?? 0);
if (store.files.length) await open(Math.min(asked, store.files.length - 1));
document.body.dataset.ready = "1";
