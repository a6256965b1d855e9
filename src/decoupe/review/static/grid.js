// A grid of any number of cells of which only those in sight exist.

import { el } from "./core.js";

export class Grid {
  /** `fill(cell, number)` draws photo `number` into a cell; `open(number)` on Enter or a double click. */
  constructor(host, { width, height, label, fill, open, move }) {
    Object.assign(this, { host, width, height, fill, open, move, numbers: [], at: 0, cells: new Map(), spare: [] });
    this.inner = el("div", { className: "cells" });
    this.box = el("div", { className: "grid", tabIndex: 0, role: "listbox", "aria-label": label }, this.inner);
    host.replaceChildren(this.box);
    this.box.addEventListener("scroll", () => this.later(), { passive: true });
    this.inner.addEventListener("click", (event) => this.clicked(event, false));
    this.inner.addEventListener("dblclick", (event) => this.clicked(event, true));
    this.box.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.layout()).observe(this.box);
  }

  show(numbers, at = 0) {
    this.numbers = numbers;
    this.at = Math.max(0, Math.min(at, numbers.length - 1));
    for (const cell of this.cells.values()) this.drop(cell);
    this.cells.clear();
    this.layout();
    this.reveal();
  }

  get number() { return this.numbers[this.at]; }

  layout() {
    const room = this.box.clientWidth - 2;
    if (room <= 0) return;
    this.columns = Math.max(1, Math.floor(room / this.width));
    this.step = Math.floor(room / this.columns);
    this.inner.style.height = `${Math.ceil(this.numbers.length / this.columns) * this.height}px`;
    for (const [place, cell] of this.cells) this.place(cell, place);
    this.draw();
  }

  later() {
    if (this.planned) return;
    this.planned = true;
    requestAnimationFrame(() => { this.planned = false; this.draw(); });
  }

  draw() {
    if (!this.columns) return;
    const first = Math.max(0, Math.floor(this.box.scrollTop / this.height) - 1) * this.columns;
    const rows = Math.ceil(this.box.clientHeight / this.height) + 3;
    const last = Math.min(this.numbers.length, first + rows * this.columns);
    for (const [place, cell] of this.cells) {
      if (place < first || place >= last) { this.drop(cell); this.cells.delete(place); }
    }
    for (let place = first; place < last; place += 1) {
      if (this.cells.has(place)) continue;
      const cell = this.spare.pop() ?? el("div", { className: "cell", role: "option" });
      this.cells.set(place, cell);
      this.place(cell, place);
      this.paint(place);
      this.inner.append(cell);
    }
  }

  place(cell, place) {
    const x = (place % this.columns) * this.step, y = Math.floor(place / this.columns) * this.height;
    cell.style.transform = `translate(${x}px, ${y}px)`;
    cell.style.width = `${this.step}px`;
    cell.style.height = `${this.height}px`;
  }

  paint(place) {
    const cell = this.cells.get(place);
    if (!cell) return;
    cell.id = `cell-${place}`;
    cell.dataset.place = place;
    cell.setAttribute("aria-selected", String(place === this.at));
    cell.setAttribute("aria-posinset", place + 1);
    cell.setAttribute("aria-setsize", this.numbers.length);
    this.fill(cell, this.numbers[place]);
    if (place === this.at) this.box.setAttribute("aria-activedescendant", cell.id);
  }

  /** Draw again the cells of some photos, or all that are in sight. */
  repaint(numbers) {
    for (const place of this.cells.keys()) if (!numbers || numbers.includes(this.numbers[place])) this.paint(place);
  }

  drop(cell) {
    cell.querySelectorAll("img").forEach((image) => image.removeAttribute("src"));
    cell.remove();
    if (this.spare.length < 60) this.spare.push(cell);
  }

  choose(place) {
    if (!this.numbers.length) return;
    const before = this.at;
    this.at = Math.max(0, Math.min(place, this.numbers.length - 1));
    this.reveal();
    this.paint(before);
    this.paint(this.at);
    this.move?.(this.number);
  }

  reveal() {
    if (!this.columns) return;
    const top = Math.floor(this.at / this.columns) * this.height, box = this.box;
    if (top < box.scrollTop) box.scrollTop = top;
    else if (top + this.height > box.scrollTop + box.clientHeight) box.scrollTop = top + this.height - box.clientHeight;
    this.draw();
  }

  clicked(event, twice) {
    const cell = event.target.closest(".cell");
    if (!cell) return;
    this.choose(Number(cell.dataset.place));
    if (twice) this.open?.(this.number);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(this.box.clientHeight / this.height)) * this.columns;
    const to = {
      ArrowLeft: this.at - 1, ArrowRight: this.at + 1, ArrowUp: this.at - this.columns, ArrowDown: this.at + this.columns,
      PageUp: this.at - page, PageDown: this.at + page, Home: 0, End: this.numbers.length - 1,
    }[event.key];
    if (to !== undefined) { event.preventDefault(); this.choose(to); }
    if (event.key === "Enter") { event.preventDefault(); this.open?.(this.number); }
  }
}

/** Fill a cell with photos laid over each other, a caption and a sign of the verdict. */
export function tile(cell, layers, caption, sign = "") {
  let frame = cell.firstElementChild;
  if (!frame) {
    frame = el("div", { className: "frame" });
    cell.append(frame, el("p", { className: "caption" }, el("span"), el("b")));
  }
  while (frame.childElementCount < layers.length) frame.append(el("img", { alt: "", loading: "eager", decoding: "async", draggable: false }));
  [...frame.children].forEach((image, i) => { if (image.getAttribute("src") !== layers[i]) image.src = layers[i]; });
  const [name, word] = cell.lastElementChild.children;
  name.textContent = caption;
  name.title = caption;
  word.textContent = { a: "✓", r: "✕", f: "⚑" }[sign] ?? "";
  cell.dataset.verdict = sign;
}
