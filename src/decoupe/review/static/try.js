// Try: drop a photo, see its masks.

import { $, ask, el, keys, percent, tell } from "./core.js";

const LARGEST = 64 * 1024 * 1024;
const LOOKS = ["mask", "cut-out", "photo"];
let latest = null;

async function run(file) {
  if (!file) return;
  if (file.size > LARGEST) { tell("A photo of at most 64 MB, please"); return; }
  $("#drop").classList.add("working");
  try {
    const found = await ask("/api/try", { bytes: file });
    $("#results").prepend(card(file.name || "pasted photo", found));
    while ($("#results").childElementCount > 8) $("#results").lastElementChild.remove();
  } catch (error) { tell(error.message); } finally { $("#drop").classList.remove("working"); }
}

function card(name, found) {
  const image = (what, alt) => el("img", { src: `/try/${found.id}/${what}`, alt, draggable: false });
  const stage = el("figure", { className: "tried checked", style: { "--ratio": `${found.width} / ${found.height}` } },
    image("photo.jpg", name), image("mask.png", ""), image("cut.png", ""));
  const buttons = LOOKS.map((look) => el("button", { type: "button", textContent: look, on: { click: () => show(look) } }));
  const show = (look) => {
    stage.dataset.look = look;
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(LOOKS[i] === look)));
  };
  const next = () => show(LOOKS[(LOOKS.indexOf(stage.dataset.look) + 1) % LOOKS.length]);
  const rows = found.regions.map((r) => el("li", {}, el("i", { className: r.background ? "dot ground" : "dot", style: { "--dot": r.colour } }),
    el("span", { className: "grow", textContent: r.name }), el("b", { textContent: percent(r.share) })));
  show("mask");
  latest = next;
  return el("article", { className: "result" }, stage, el("div", { className: "told" },
    el("h2", { textContent: name }),
    el("p", { className: "soft", textContent: `${found.width} × ${found.height} px · ${found.seconds.toFixed(2)} s · ${percent(found.sure)} sure` }),
    el("div", { className: "switch", role: "group", "aria-label": "Show" }, ...buttons), el("ul", { className: "shares" }, ...rows)));
}

$("#file").addEventListener("change", async (event) => {
  for (const file of event.target.files) await run(file);
  event.target.value = "";
});
const drop = $("#drop");
for (const kind of ["dragenter", "dragover"]) addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
for (const kind of ["dragleave", "drop"]) addEventListener(kind, (event) => { event.preventDefault(); drop.classList.remove("over"); });
addEventListener("drop", async (event) => { for (const file of event.dataTransfer.files) await run(file); });
addEventListener("paste", (event) => { const file = [...event.clipboardData.files][0]; if (file) run(file); });
keys({ m: () => latest?.() });
document.body.dataset.ready = "1";
