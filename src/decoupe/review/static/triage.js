// Triage: one photo after the other, or a grid of all; verdicts by key, by button or by a flick of the thumb.

import { $, WORDS, keys, loaded, tell } from "./core.js";
import { Grid, tile } from "./grid.js";
import { figure, judge, listed, load, mask, store, tally, thumb, undo, view, watch } from "./store.js";

const AHEAD = 8;
const KEEP = "decoupe-triage";
let order = [], place = 0, hidden = false, grid = null, shown = -1, turn = 0;
const ready = new Map();
const saved = (() => { try { return JSON.parse(localStorage.getItem(KEEP)) ?? {}; } catch { return {}; } })();
const number = () => order[place];

/** Both pictures of a photo, kept for a while. */
function pictures(n) {
  const address = mask(n);
  const known = ready.get(n);
  if (known && known.address === address) return known.both;
  const both = Promise.all([loaded(view(n)), loaded(address)]);
  both.catch(() => ready.delete(n));
  ready.set(n, { address, both });
  for (const key of ready.keys()) { if (ready.size <= 4 * AHEAD) break; ready.delete(key); }
  return both;
}

async function show() {
  const mine = (turn += 1);
  const n = number();
  facts();
  localStorage.setItem(KEEP, JSON.stringify({ sort: $("#sort").value, filter: $("#filter").value, file: store.files[n] }));
  if (n === undefined) { $("#photo").removeAttribute("src"); $("#mask").removeAttribute("src"); return; }
  try {
    const [photo, over] = await pictures(n);
    if (mine !== turn) return;
    $("#photo").src = photo.src;
    $("#mask").src = over.src;
    $("#photo").alt = store.files[n];
    await Promise.all([$("#photo").decode(), $("#mask").decode()]);
  } catch {
    if (mine !== turn) return;
    $("#photo").removeAttribute("src");
    $("#mask").removeAttribute("src");
    $("#photo").alt = "This photo cannot be read";
  }
  if (mine !== turn) return;
  shown = n;
  $("#stage").dataset.number = n;
  $("#stage").dispatchEvent(new CustomEvent("shown", { detail: n }));
  for (let i = 1; i <= AHEAD; i += 1) if (order[place + i] !== undefined) pictures(order[place + i]).catch(() => {});
}

function facts() {
  const n = number(), count = tally(), total = store.files.length, judged = total - count["."];
  const letter = store.verdicts[n];
  $("#caption").textContent = n === undefined ? "Nothing to show here" :
    `${store.files[n]} · ${place + 1} of ${order.length.toLocaleString("en")} · confidence ${figure(store.confidence, n)} · disagreement ${figure(store.disagreement, n)}${store.corrected.has(n) ? " · corrected" : ""}`;
  const stamp = $("#stamp");
  stamp.hidden = n === undefined || letter === ".";
  stamp.textContent = WORDS[letter] ?? "";
  stamp.className = `stamp ${letter === "." ? "" : letter}`;
  $("#count").textContent = `${judged.toLocaleString("en")} of ${total.toLocaleString("en")} judged` + (store.done < total ? ` · looked at ${store.done.toLocaleString("en")}` : "");
  for (const kind of ["a", "r", "f"]) $(`#meter .${kind}`).style.width = `${(100 * count[kind]) / Math.max(total, 1)}%`;
  for (const [id, kind] of [["accept", "a"], ["reject", "r"], ["flag", "f"]]) {
    $(`#${id}`).setAttribute("aria-pressed", String(letter === kind));
    $(`#${id}`).disabled = n === undefined;
  }
  $("#correct").href = n === undefined ? "/correct" : `/correct?photo=${n}`;
}

function go(to) {
  if (!order.length) return;
  place = Math.max(0, Math.min(to, order.length - 1));
  if (grid && !$("#sheet").hidden) { if (grid.at !== place) grid.choose(place); facts(); } else show();
}

function verdict(letter) {
  const n = number();
  if (n === undefined) return;
  const before = store.verdicts[n];
  if (letter !== "." && place < order.length - 1) go(place + 1); else facts();
  if (before !== letter) judge(n, letter);
  if (place === order.length - 1 && tally()["."] === 0) tell("Everything is judged", "info");
}

async function back() {
  const n = await undo();
  if (n === undefined) return;
  const at = order.indexOf(n);
  if (at >= 0) go(at); else facts();
}

function next() {
  for (let i = 1; i <= order.length; i += 1) {
    const at = (place + i) % order.length;
    if (store.verdicts[order[at]] === ".") { go(at); return; }
  }
  tell("Everything here is judged", "info");
}

function list(file) {
  order = listed($("#sort").value, $("#filter").value);
  const at = order.findIndex((n) => store.files[n] === file);
  const open = order.findIndex((n) => store.verdicts[n] === ".");
  place = at >= 0 ? at : Math.max(0, open);
  if (grid) grid.show(order, place);
  show();
}

function many(on) {
  $("#sheet").hidden = !on;
  $("#single").hidden = on;
  $("#many").setAttribute("aria-pressed", String(on));
  $("#one").setAttribute("aria-pressed", String(!on));
  if (!on) { show(); $("#stage").focus({ preventScroll: true }); return; }
  grid ??= new Grid($("#sheet"), {
    width: innerWidth < 600 ? 112 : 168, height: innerWidth < 600 ? 132 : 186, label: "Photos",
    fill: (cell, n) => tile(cell, hidden ? [thumb(n)] : [thumb(n), mask(n, "thumb")], store.files[n], store.verdicts[n]),
    open: () => many(false),
    move: () => { place = grid.at; facts(); },
  });
  grid.show(order, place);
  grid.box.focus({ preventScroll: true });
}

function toggle() {
  hidden = !hidden;
  $("#mask").hidden = hidden;
  document.body.classList.toggle("bare", hidden);
  $("#toggle").setAttribute("aria-pressed", String(hidden));
}

function leave(page) { if (number() !== undefined) location.assign(`/${page}?photo=${number()}`); }

keys({
  a: () => verdict("a"), r: () => verdict("r"), f: () => verdict("f"), Backspace: () => verdict("."), u: back, "ctrl+z": back, n: next,
  ArrowRight: () => go(place + 1), ArrowLeft: () => go(place - 1), j: () => go(place + 1), k: () => go(place - 1),
  Home: () => go(0), End: () => go(order.length - 1),
  m: toggle, g: () => many($("#sheet").hidden), c: () => leave("correct"), l: () => leave("layers"),
});
const press = { accept: () => verdict("a"), reject: () => verdict("r"), flag: () => verdict("f"), undo: back, toggle,
  back: () => go(place - 1), forward: () => go(place + 1), one: () => many(false), many: () => many(true) };
for (const [id, run] of Object.entries(press)) $(`#${id}`).addEventListener("click", run);
for (const id of ["#sort", "#filter"]) $(id).addEventListener("change", (event) => { list(store.files[number()]); event.target.blur(); });

// a flick: right accepts, left rejects, up flags
let from = null;
$("#stage").addEventListener("pointerdown", (event) => { from = event.pointerType === "mouse" ? null : [event.clientX, event.clientY]; });
$("#stage").addEventListener("pointerup", (event) => {
  if (!from) return;
  const [x, y] = [event.clientX - from[0], event.clientY - from[1]];
  from = null;
  if (Math.abs(x) > 70 && Math.abs(x) > 2 * Math.abs(y)) verdict(x > 0 ? "a" : "r");
  else if (y < -70 && -y > 2 * Math.abs(x)) verdict("f");
  else if (Math.abs(x) + Math.abs(y) < 10) toggle();
});

watch((numbers) => {
  if (!numbers) { ready.clear(); if (shown >= 0) show(); }
  facts();
  grid?.repaint(numbers);
});
await load();
const asked = new URLSearchParams(location.search);
if (saved.sort) $("#sort").value = saved.sort;
if (saved.filter) $("#filter").value = saved.filter;
if (asked.has("photo")) $("#filter").value = "all";
list(asked.has("photo") ? store.files[Number(asked.get("photo"))] : saved.file);
if (asked.has("grid")) many(true);
document.body.dataset.ready = "1";
