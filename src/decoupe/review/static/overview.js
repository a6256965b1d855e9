// Overview: how far the review is, and the photos where the model contradicts itself most.

import { $, el } from "./core.js";
import { figure, listed, load, mask, store, tally, thumb, watch } from "./store.js";
import { tile } from "./grid.js";

const MOST = 12;

function draw() {
  const count = tally(), total = store.files.length;
  const rows = [["accepted", count.a, "a"], ["rejected", count.r, "r"], ["flagged", count.f, "f"],
    ["corrected", store.corrected.size, "c"], ["to judge", count["."], ""]];
  $("#tally").replaceChildren(...rows.map(([word, n, kind]) =>
    el("p", { className: `count ${kind}` }, el("b", { textContent: n.toLocaleString("en") }), el("span", { textContent: word }))));
  let worst = listed("torn", "all").slice(0, MOST).filter((n) => store.disagreement[n] >= 0);
  const torn = worst.some((n) => store.disagreement[n] > 5);
  if (!torn) worst = listed("unsure", "all").slice(0, MOST).filter((n) => store.confidence[n] >= 0);
  const why = torn ? "Photos whose masks change most when the photo is mirrored. A high value points at doubtful masks."
    : "Mirroring a photo changes no mask of this run, so these are the photos of the lowest confidence.";
  const looking = store.done < total ? ` Looked at ${store.done.toLocaleString("en")} of ${total.toLocaleString("en")} so far.` : "";
  $("#worst-about").textContent = why + looking;
  $("#worst-tiles").replaceChildren(...worst.map((n) => {
    const cell = el("div", { className: "cell" });
    tile(cell, [thumb(n), mask(n, "thumb")], store.files[n], store.verdicts[n]);
    const about = torn ? `disagreement ${figure(store.disagreement, n)}` : `confidence ${figure(store.confidence, n)}`;
    return el("a", { className: "tile", href: `/triage?photo=${n}`, "aria-label": `${store.files[n]}, ${about}` },
      cell, el("span", { className: "soft", textContent: about }));
  }));
}

watch(draw);
await load();
draw();
document.body.dataset.ready = "1";
