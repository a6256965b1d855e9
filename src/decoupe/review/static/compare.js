// Compare: two runs side by side on the same photos.

import { $, SESSION, ask, el, keys, loaded, percent, tell } from "./core.js";
import { Grid, tile } from "./grid.js";
import { load, mask, store, thumb, view } from "./store.js";

let name = "", agree = new Map(), wanted = new Set(), asking = false, grid = null;
const theirs = (n, side) => `/compare/${n}/${side}.png?with=${encodeURIComponent(name)}&v=${SESSION}.${store.naming}`;

function fill(cell, n) {
  if (!cell.firstElementChild) {
    cell.append(el("div", { className: "pair" }, el("div"), el("div")), el("p", { className: "caption" }, el("span"), el("b")));
  }
  const [left, right] = cell.firstElementChild.children;
  tileIn(left, [thumb(n), mask(n, "thumb")]);
  tileIn(right, [thumb(n), theirs(n, "thumb")]);
  const [file, share] = cell.lastElementChild.children;
  file.textContent = store.files[n];
  file.title = store.files[n];
  const value = agree.get(n);
  share.textContent = value === undefined ? "" : value === null ? "unreadable" : `agree ${percent(value)}`;
  if (value === undefined) { wanted.add(n); setTimeout(fetchMore, 120); }
}

function tileIn(frame, layers) {
  while (frame.childElementCount < layers.length) frame.append(el("img", { alt: "", decoding: "async", draggable: false }));
  [...frame.children].forEach((image, i) => { if (image.getAttribute("src") !== layers[i]) image.src = layers[i]; });
}

async function fetchMore() {
  if (asking || !wanted.size || !name) return;
  asking = true;
  const some = [...wanted].slice(-16);
  some.forEach((n) => wanted.delete(n));
  try {
    const found = await ask(`/api/compare?with=${encodeURIComponent(name)}&photos=${some.join()}`);
    for (const n of some) agree.set(n, found.agree[n]);
    legend(found);
    grid.repaint(some);
  } catch (error) { tell(error.message); }
  asking = false;
  if (wanted.size) setTimeout(fetchMore, 50);
}

function legend({ ours, theirs: other }) {
  const dot = (r) => el("span", { className: "key" }, el("i", { className: r.background ? "dot ground" : "dot", style: { "--dot": r.colour } }), r.name);
  $("#legend").replaceChildren(el("b", { textContent: "left: this run" }), ...ours.map(dot), el("b", { textContent: `right: ${name}` }), ...other.map(dot));
}

async function choose(other) {
  name = other;
  agree = new Map();
  wanted.clear();
  if (!name) return;
  $("#legend").textContent = "matching regions …";
  try { legend(await ask(`/api/compare?with=${encodeURIComponent(name)}`)); } catch (error) { tell(error.message); $("#legend").textContent = ""; return; }
  grid.show(store.files.map((_, i) => i), grid.at);
}

async function large(n) {
  if (n === undefined) return;
  for (const id of ["#single", "#close", ".slide"]) $(id).hidden = false;
  $("#sheet").hidden = true;
  const addresses = [view(n), mask(n), theirs(n, "view")];
  try { await Promise.all(addresses.map(loaded)); } catch { tell("This photo cannot be read"); small(); return; }
  ["#photo", "#ours", "#theirs"].forEach((id, i) => { $(id).src = addresses[i]; });
  const value = agree.get(n);
  $("#caption").textContent = `${store.files[n]} · left: this run, right: ${name}${value === undefined || value === null ? "" : ` · agree on ${percent(value)}`}`;
  swipe();
  $("#stage").dataset.number = n;
  $("#stage").focus({ preventScroll: true });
}

function small() {
  for (const id of ["#single", "#close", ".slide"]) $(id).hidden = true;
  $("#sheet").hidden = false;
  grid.box.focus({ preventScroll: true });
}

function swipe() {
  const at = Number($("#swipe").value);
  $("#ours").style.clipPath = `inset(0 ${100 - at}% 0 0)`;
  $("#theirs").style.clipPath = `inset(0 0 0 ${at}%)`;
  $("#stage").style.setProperty("--at", `${at}%`);
}

const single = () => !$("#single").hidden;
function go(by) {
  if (!single()) return;
  grid.choose(grid.at + by);
  large(grid.number);
}
keys({
  Escape: () => single() && small(), ArrowLeft: () => go(-1), ArrowRight: () => go(1),
  " ": () => { const s = $("#swipe"); s.value = s.value === "100" ? 0 : s.value === "0" ? 50 : 100; swipe(); },
});
$("#swipe").addEventListener("input", swipe);
$("#stage").addEventListener("pointermove", (event) => {
  if (event.pointerType === "mouse" && !event.buttons) return;
  const box = $("#photo").getBoundingClientRect();
  $("#swipe").value = Math.round(100 * Math.max(0, Math.min(1, (event.clientX - box.left) / box.width)));
  swipe();
});
$("#close").addEventListener("click", small);
$("#other").addEventListener("change", (event) => { choose(event.target.value); event.target.blur(); });

await load();
const { runs } = await ask("/api/others");
grid = new Grid($("#sheet"), { width: innerWidth < 600 ? 300 : 330, height: innerWidth < 600 ? 190 : 206, label: "Photos", fill, open: large });
$("#other").replaceChildren(...runs.map((run) => el("option", { value: run.name, textContent: `${run.name} (${run.room})` })));
if (runs.length) await choose(new URLSearchParams(location.search).get("with") ?? runs[0].name);
else { $("#other").disabled = true; $("#sheet").replaceChildren(el("p", { className: "nothing", textContent: "No other finished run lies in the folder of this one. Train a second one beside it to compare them here." })); }
$("#other").value = name;
document.body.dataset.ready = "1";
