// What is seen of a mask under the brush: the photo, the tinted regions, outlines, strokes; and how far it is zoomed.

const TINT = 105, DIM = 150;

export class View {
  constructor(canvas) {
    Object.assign(this, { canvas, pen: canvas.getContext("2d"), x: 0, y: 0, scale: 1, hidden: false, extra: () => {} });
    new ResizeObserver(() => { this.resize(); }).observe(canvas.parentElement);
  }

  /** Show a photo and its mask; `regions` give the colours. */
  open(photo, mask, regions) {
    Object.assign(this, { photo, mask });
    this.layer = new OffscreenCanvas(mask.width, mask.height);
    this.colours = new Uint8ClampedArray(256 * 4);
    const alone = regions.length > 1 && regions.filter((r) => !r.background).length === 1;
    for (const region of regions) {
      this.colours.set(region.background ? [12, 14, 18, DIM] : [...region.colour, alone ? TINT * 0.6 : TINT], region.index * 4);
    }
    this.resize();
    this.fit();
    this.tint([0, 0, mask.width, mask.height]);
  }

  resize() {
    const box = this.canvas.parentElement, ratio = devicePixelRatio || 1;
    const [width, height] = [box.clientWidth, box.clientHeight];
    if (!width || !height) return;
    this.ratio = ratio;
    const moved = this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio);
    if (moved) { this.canvas.width = Math.round(width * ratio); this.canvas.height = Math.round(height * ratio); }
    this.wide = width;
    this.high = height;
    if (this.mask && this.whole) this.fit();
    this.draw();
  }

  /** The scale at which the whole photo is seen. */
  get least() { return Math.min(this.wide / this.mask.width, this.high / this.mask.height) * 0.98; }

  fit() {
    this.whole = true;
    this.scale = this.least;
    this.x = (this.wide - this.mask.width * this.scale) / 2;
    this.y = (this.high - this.mask.height * this.scale) / 2;
    this.draw();
  }

  /** Zoom by a factor around a point of the screen. */
  zoom(factor, at = [this.wide / 2, this.high / 2]) {
    const scale = Math.max(this.least, Math.min(this.scale * factor, 40));
    if (scale === this.least) { this.fit(); return; }
    const [x, y] = this.to(at);
    this.whole = false;
    this.scale = scale;
    this.x = at[0] - x * scale;
    this.y = at[1] - y * scale;
    this.draw();
  }

  pan(dx, dy) {
    this.whole = false;
    const room = 60;
    this.x = Math.max(room - this.mask.width * this.scale, Math.min(this.x + dx, this.wide - room));
    this.y = Math.max(room - this.mask.height * this.scale, Math.min(this.y + dy, this.high - room));
    this.draw();
  }

  /** Screen to photo, and back. */
  to([x, y]) { return [(x - this.x) / this.scale, (y - this.y) / this.scale]; }
  from([x, y]) { return [x * this.scale + this.x, y * this.scale + this.y]; }

  /** Colour the mask anew within a box of pixels. */
  tint(box) {
    if (!box) return;
    const { width, height, labels } = this.mask;
    const x0 = Math.max(0, box[0] - 2), y0 = Math.max(0, box[1] - 2), x1 = Math.min(width, box[2] + 2), y1 = Math.min(height, box[3] + 2);
    if (x0 >= x1 || y0 >= y1) return;
    const image = new ImageData(x1 - x0, y1 - y0), out = image.data, colours = this.colours;
    let k = 0;
    for (let y = y0; y < y1; y += 1) {
      for (let x = x0; x < x1; x += 1, k += 4) {
        const i = y * width + x, own = labels[i];
        const edge = (x + 1 < width && labels[i + 1] !== own) || (y + 1 < height && labels[i + width] !== own);
        const dark = !edge && ((x > 0 && labels[i - 1] !== own) || (y > 0 && labels[i - width] !== own));
        if (edge) { out[k] = out[k + 1] = out[k + 2] = out[k + 3] = 255; }
        else if (dark) { out[k + 3] = 150; }
        else { out[k] = colours[own * 4]; out[k + 1] = colours[own * 4 + 1]; out[k + 2] = colours[own * 4 + 2]; out[k + 3] = colours[own * 4 + 3]; }
      }
    }
    this.layer.getContext("2d").putImageData(image, x0, y0);
    this.draw();
  }

  draw() {
    if (this.planned || !this.mask) return;
    this.planned = true;
    requestAnimationFrame(() => { this.planned = false; this.paint(); });
  }

  paint() {
    const { pen, ratio, mask } = this;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    pen.setTransform(this.scale * ratio, 0, 0, this.scale * ratio, this.x * ratio, this.y * ratio);
    pen.imageSmoothingEnabled = this.scale < 3;
    pen.drawImage(this.photo, 0, 0, mask.width, mask.height);
    if (!this.hidden) pen.drawImage(this.layer, 0, 0);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.extra(pen);
  }
}

/** A line through points of the photo, once in each style. */
function trace(g, view, line, styles) {
  for (const [style, width] of styles) {
    g.strokeStyle = style;
    g.lineWidth = width;
    g.beginPath();
    line.forEach((p, i) => { const [x, y] = view.from(p); if (i) g.lineTo(x, y); else g.moveTo(x, y); });
    if (line.length === 1) { const [x, y] = view.from(line[0]); g.lineTo(x + 0.1, y); }
    g.stroke();
  }
}

/** What is being drawn: strokes, an open polygon, the brush and the cross. */
export function ink(g, view, { path, points, cross, crossed, regions, region, size }) {
  const colour = (index) => {
    const own = regions.find((r) => r.index === index);
    return !own || own.background ? "#000" : `rgb(${own.colour.join()})`;
  };
  g.lineJoin = g.lineCap = "round";
  for (const [index, width, line] of path) {
    const wide = 2 * width * view.scale;
    trace(g, view, line, [["#fff", wide + 4], [colour(index), wide]]);
  }
  if (points.length) {
    trace(g, view, [...points, cross], [["#fff", 4], [colour(region), 2]]);
    const [x, y] = view.from(points[0]);
    g.fillStyle = "#fff";
    g.beginPath();
    g.arc(x, y, 5, 0, 7);
    g.fill();
  }
  const [x, y] = view.from(cross);
  for (const [style, width] of [["#000", 3.5], ["#fff", 1.5]]) {
    g.strokeStyle = style;
    g.lineWidth = width;
    g.beginPath();
    if (size) g.arc(x, y, Math.max(2, size * view.scale), 0, 7);
    if (crossed) { g.moveTo(x - 8, y); g.lineTo(x + 8, y); g.moveTo(x, y - 8); g.lineTo(x, y + 8); }
    g.stroke();
  }
}
