// Naming: one card per region with its most confident crops.

import { $, SESSION, ask, el, keys, percent, storing } from "./core.js";
import { announce, refresh, watch } from "./store.js";

const PALETTE = ["#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#0072b2", "#f0e442"];
const CROPS = 12;
let regions = [], marked = [], revision = 0, at = 0;

const cards = () => [...$("#regions").children];
const current = () => regions[at];

async function change(what, ...values) {
  const reply = await storing(() => ask("/api/regions", { json: { do: what, with: values } }));
  if (!reply) { draw(); return; }
  marked = [];
  take(reply);
  announce();
}

function take(reply) {
  const before = current()?.index;
  ({ regions, revision } = reply);
  const found = regions.findIndex((r) => r.index === before || r.members.includes(before));
  at = found >= 0 ? found : Math.min(at, regions.length - 1);
  const looked = reply.done < reply.count ? ` Looked at ${reply.done.toLocaleString("en")} of ${reply.count.toLocaleString("en")} photos so far.` : "";
  $("#about").textContent = `The most confident crops of each region; the rest of the photo is dimmed.${looked}`;
  draw();
  if (reply.done < reply.count) setTimeout(look, 2500);
}

async function look() {
  if (document.activeElement?.matches("input")) { setTimeout(look, 2500); return; }
  try { take(await ask("/api/regions")); } catch { setTimeout(look, 10000); }
}

function draw() {
  const focused = document.activeElement?.closest?.(".region") !== null;
  $("#regions").replaceChildren(...regions.map(card));
  $("#merge").disabled = marked.length < 2;
  if (focused || document.activeElement === document.body) cards()[at]?.focus({ preventScroll: true });
}

function card(region, place) {
  const title = el("input", { className: "title", type: "text", value: region.name, maxLength: 80, spellcheck: false,
    autocomplete: "off", "aria-label": `Name of region ${region.index}`,
    on: { keydown: (event) => typed(event, region), change: (event) => named(event, region) } });
  const colour = el("input", { type: "color", value: region.colour, "aria-label": `Colour of ${region.name}`,
    on: { change: (event) => change("colour", region.index, event.target.value) } });
  const button = (text, key, pressed, run) => el("button", { type: "button", on: { click: run },
    ...(pressed === null ? {} : { "aria-pressed": String(pressed) }) }, `${text} `, el("kbd", { textContent: key }));
  const crops = region.crops.slice(0, CROPS).map((crop, i) => el("a", { href: `/triage?photo=${crop.photo}`, tabIndex: -1, title: `${percent(crop.sure)} sure` },
    el("img", { src: `/crop/${region.index}/${i}.jpg?v=${SESSION}.${revision}.${crop.photo}`, alt: "", loading: "lazy", width: 160, height: 160 })));
  const single = region.members.length < 2;
  const node = el("li", { className: "region", tabIndex: 0, "aria-label": `Region ${region.index}, ${region.name}, ${percent(region.share)} of the photos${region.background ? ", background" : ""}` },
    el("div", { className: "head" }, colour, title, el("span", { className: "soft", textContent: percent(region.share) })),
    crops.length ? el("div", { className: "montage" }, ...crops) : el("p", { className: "soft empty", textContent: "No photo shows this region clearly" }),
    el("div", { className: "row" },
      button("Background", "B", region.background, () => change("background", region.index)),
      button("Merge", "X", marked.includes(region.index), () => mark(region.index)),
      single ? null : button("Split", "S", null, () => change("split", region.index)),
      el("span", { className: "soft number", textContent: single ? `region ${region.index}` : `regions ${region.members.join(", ")}` })));
  node.addEventListener("focusin", () => { at = place; cards().forEach((c, i) => c.classList.toggle("chosen", i === at)); });
  node.classList.toggle("marked", marked.includes(region.index));
  node.classList.toggle("chosen", place === at);
  return node;
}

function typed(event, region) {
  if (event.key === "Escape") { event.target.value = region.name; cards()[at]?.focus(); event.stopPropagation(); }
  if (event.key === "Enter") { event.preventDefault(); cards()[at]?.focus(); }
}

function named(event, region) {
  const name = event.target.value.trim();
  if (name && name !== region.name) change("rename", region.index, name); else event.target.value = region.name;
}

function mark(index) {
  marked = marked.includes(index) ? marked.filter((i) => i !== index) : [...marked, index];
  draw();
  cards()[at]?.focus({ preventScroll: true });
}

function go(step) {
  at = Math.max(0, Math.min(at + step, regions.length - 1));
  cards()[at]?.focus();
}

function recolour(event) {
  const i = PALETTE.indexOf(current().colour), step = event.shiftKey ? PALETTE.length - 1 : 1;
  change("colour", current().index, PALETTE[(i < 0 ? 0 : i + step) % PALETTE.length]);
}

const merge = () => { if (marked.length > 1) change("merge", ...marked); };
keys({
  ArrowRight: () => go(1), ArrowDown: () => go(1), ArrowLeft: () => go(-1), ArrowUp: () => go(-1),
  Enter: () => { const input = $(".title", cards()[at]); input?.focus(); input?.select(); },
  b: () => change("background", current().index), c: recolour, x: () => mark(current().index), m: merge,
  s: () => current().members.length > 1 && change("split", current().index),
  u: () => change("undo"), "ctrl+z": () => change("undo"),
});
$("#merge").addEventListener("click", merge);
$("#undo").addEventListener("click", () => change("undo"));
watch(() => look());
take(await ask("/api/regions"));
refresh();
document.body.dataset.ready = "1";
