// Layers and instances of one photo: show, hide, count, remove.

import { $, ask, el, keys, percent, storing, tell, unpack } from "./core.js";
import { announce, load, put, stamped, store } from "./store.js";

let number = 0, about = null, off = new Set(), chosen = null, past = [];
const maps = new Map();

async function open(n) {
  try { about = await ask(`/api/layers/${n}`); } catch (error) { tell(error.message); return; }
  if (n !== number) past = [];
  number = n;
  chosen = null;
  maps.clear();
  history.replaceState(null, "", `/layers?photo=${n}`);
  draw();
  document.body.dataset.photo = n;
}

function draw() {
  $("#file").textContent = [about.file, store.corrected.has(number) ? "corrected" : null].filter(Boolean).join(" · ");
  $("#undo").disabled = !past.length;
  $("#correct").href = `/correct?photo=${number}`;
  $("#stack").replaceChildren(...about.layers.map((layer) => el("img", {
    src: stamped(`/layer/${number}/${layer.index}.png`, number), alt: layer.name, draggable: false, hidden: off.has(layer.index) })));
  $("#panel").replaceChildren(...about.layers.map(row));
  outline();
}

function row(layer, place) {
  const box = el("input", { type: "checkbox", checked: !off.has(layer.index), on: { change: () => flip(layer.index) } });
  const dot = el("i", { className: layer.background ? "dot ground" : "dot", style: { "--dot": layer.colour } });
  const count = layer.things.length;
  const head = el("label", { className: "layer" }, box, dot, el("span", { className: "grow", textContent: layer.name }),
    el("span", { className: "soft", textContent: percent(layer.share) }), place < 9 ? el("kbd", { textContent: place + 1 }) : null);
  if (layer.background) return el("section", {}, head);
  const title = count === 1 ? "1 instance" : `${count.toLocaleString("en")} instances`;
  const list = el("div", { className: "things", role: "listbox", "aria-label": `Instances of ${layer.name}` }, ...layer.things.slice(0, 200).map(([area, sure], i) => {
    const here = chosen && chosen.region === layer.index && chosen.thing === i + 1;
    return el("button", { type: "button", role: "option", "aria-selected": String(Boolean(here)), on: { click: () => pick(layer.index, i + 1) } },
      el("b", { textContent: `${i + 1}` }), el("span", { textContent: `${percent(area / (about.width * about.height), 1)} · ${percent(sure)} sure` }));
  }));
  const remove = el("button", { type: "button", className: "reject", disabled: !(chosen && chosen.region === layer.index), on: { click: removeIt } }, "Remove ", el("kbd", { textContent: "Del" }));
  return el("section", {}, head, el("p", { className: "row" }, el("b", { className: "grow", textContent: title }), count ? remove : null), count ? list : null);
}

function flip(index) {
  if (off.has(index)) off.delete(index); else off.add(index);
  draw();
}

async function map(region) {
  if (!maps.has(region)) {
    const reply = await ask(stamped(`/things/${number}/${region}`, number), { raw: true });
    const bytes = await unpack(reply);
    maps.set(region, new Uint16Array(bytes.buffer, 0, bytes.length / 2));
  }
  return maps.get(region);
}

function pick(region, thing) {
  chosen = chosen && chosen.region === region && chosen.thing === thing ? null : { region, thing };
  draw();
}

/** Draw the border of the chosen instance. */
async function outline() {
  const mark = $("#mark");
  mark.hidden = !chosen;
  if (!chosen) return;
  const { width, height } = about, want = chosen, things = await map(chosen.region);
  if (want !== chosen) return;
  mark.width = width;
  mark.height = height;
  const image = new ImageData(width, height), own = chosen.thing, thick = Math.max(1, Math.round(Math.max(width, height) / 250));
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      if (things[y * width + x] !== own) continue;
      const edge = [[thick, 0], [-thick, 0], [0, thick], [0, -thick]].some(([dx, dy]) => {
        const [u, v] = [x + dx, y + dy];
        return u < 0 || v < 0 || u >= width || v >= height || things[v * width + u] !== own;
      });
      const k = (y * width + x) * 4;
      if (edge) image.data.set([255, 255, 255, 255], k); else image.data.set([255, 255, 255, 60], k);
    }
  }
  mark.getContext("2d").putImageData(image, 0, 0);
}

$("#stage").addEventListener("click", async (event) => {
  const stage = $("#stage").getBoundingClientRect(), gap = parseFloat(getComputedStyle(document.documentElement).fontSize) * 0.6;
  const box = { left: stage.left + gap, top: stage.top + gap, width: stage.width - 2 * gap, height: stage.height - 2 * gap };
  const scale = Math.min(box.width / about.width, box.height / about.height);
  const x = Math.floor((event.clientX - box.left - (box.width - scale * about.width) / 2) / scale);
  const y = Math.floor((event.clientY - box.top - (box.height - scale * about.height) / 2) / scale);
  if (x < 0 || y < 0 || x >= about.width || y >= about.height) return;
  for (const layer of about.layers) {
    if (layer.background || off.has(layer.index) || !layer.things.length) continue;
    const thing = (await map(layer.index))[y * about.width + x];
    if (thing) { pick(layer.index, thing); return; }
  }
  chosen = null;
  draw();
});

async function removeIt() {
  if (!chosen) return;
  const before = new Uint8Array(await (await ask(`/labels/${number}`, { raw: true })).arrayBuffer());
  const was = store.corrected.has(number);
  const reply = await storing(() => ask(`/api/remove/${number}`, { json: { seen: about.revision, region: chosen.region, thing: chosen.thing } }));
  if (!reply) return;
  past.push({ bytes: before, was });
  put(number, reply.photo);
  announce();
  await open(number);
}

async function undo() {
  const step = past.pop();
  if (!step) return;
  const reply = await storing(() => (step.was
    ? ask(`/labels/${number}?seen=${about.revision}`, { bytes: step.bytes, method: "PUT" })
    : ask(`/api/reset/${number}`, { json: { seen: about.revision } })));
  if (!reply) { past.push(step); return; }
  put(number, reply.photo);
  announce();
  await open(number);
}

function along(by) {
  const all = about.layers.flatMap((layer) => layer.things.map((_, i) => ({ region: layer.index, thing: i + 1 })));
  if (!all.length) return;
  const at = chosen ? all.findIndex((t) => t.region === chosen.region && t.thing === chosen.thing) : by > 0 ? -1 : 0;
  chosen = all[(at + by + all.length) % all.length];
  draw();
}

const step = (by) => open(Math.max(0, Math.min(number + by, store.files.length - 1)));
const table = { "[": () => along(-1), "]": () => along(1), Delete: removeIt, Backspace: removeIt, u: undo, "ctrl+z": undo,
  ArrowLeft: () => step(-1), ArrowRight: () => step(1), c: () => location.assign(`/correct?photo=${number}`) };
for (let i = 1; i <= 9; i += 1) table[i] = () => { const layer = about?.layers[i - 1]; if (layer) flip(layer.index); };
keys(table);
$("#back").addEventListener("click", () => step(-1));
$("#forward").addEventListener("click", () => step(1));
$("#undo").addEventListener("click", undo);

await load();
await open(Math.min(Number(new URLSearchParams(location.search).get("photo") ?? 0), store.files.length - 1));
document.body.dataset.ready = "1";
