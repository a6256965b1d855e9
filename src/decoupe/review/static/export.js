// Export: accepted and corrected masks in the formats of `decoupe segment`.

import { $, ask, el, tell } from "./core.js";

const ABOUT = {
  png: "indexed PNG with names", overlay: "photos with tinted regions", npz: "NumPy", csv: "areas, positions, colours", coco: "COCO JSON, instances", "coco-panoptic": "COCO panoptic: PNG and JSON", layers: "one transparent PNG per region",
  cvat: "CVAT XML, masks", "cvat-polygons": "CVAT XML, polygons", labelstudio: "Label Studio, brush", "labelstudio-polygons": "Label Studio, polygons",
  voc: "VOC folders", tiff: "16-bit label TIFF", rois: "ImageJ ROIs", ora: "OpenRaster layers (GIMP, Krita)",
};

async function show() {
  const about = await ask("/api/export");
  const many = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;
  $("#about").textContent = about.count
    ? `${many(about.count, "mask")} to export, ${about.corrected.toLocaleString("en")} of them corrected by hand.`
    : "Nothing to export yet: accept masks on the page Triage, or correct some.";
  $("#go").disabled = !about.count;
  if (!$("#formats").childElementCount) {
    $("#formats").replaceChildren(...about.formats.map((name) => el("label", { className: "check" },
      el("input", { type: "checkbox", name: "format", value: name, checked: name === "png" || name === "coco" }),
      el("span", {}, el("b", { textContent: name }), el("span", { className: "soft", textContent: ABOUT[name] ?? "" })))));
  }
}

$("#form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const formats = [...document.querySelectorAll("[name=format]:checked")].map((box) => box.value);
  if (!formats.length) { tell("Choose a format first"); return; }
  $("#go").disabled = true;
  $("#go").textContent = "writing …";
  try {
    const made = await ask("/api/export", { json: { formats } });
    const names = made.files.join(", ") + (made.more ? ` and ${made.more} more` : "");
    $("#done").replaceChildren(el("p", { className: "note good" }, `${made.count.toLocaleString("en")} masks are in `, el("code", { textContent: made.folder }), ` of the run's folder: ${names}`));
  } catch (error) { tell(error.message); }
  $("#go").textContent = "Export";
  await show();
});
await show();
document.body.dataset.ready = "1";
