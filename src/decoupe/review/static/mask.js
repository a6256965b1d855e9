// A mask under the brush: region numbers, what was changed where, and the way back. No drawing on screens here.

const STEPS = 80;

export class Mask {
  constructor(width, height, labels) {
    Object.assign(this, { width, height, labels, past: [], future: [], touched: null, before: null });
  }

  /** Begin a step: what follows until `end` is undone as one. */
  begin() {
    this.before = this.labels.slice();
    this.touched = null;
  }

  /** End a step; the box that changed, or null if nothing did. */
  end() {
    const box = this.touched;
    const before = this.before;
    this.before = this.touched = null;
    if (!box || !before) return null;
    const step = { box, before: this.cut(before, box), after: this.cut(this.labels, box) };
    if (step.before.every((value, i) => value === step.after[i])) return null;
    this.past.push(step);
    if (this.past.length > STEPS) this.past.shift();
    this.future = [];
    return box;
  }

  /** Leave a step without its changes. */
  cancel() {
    const box = this.touched;
    if (this.before) this.labels.set(this.before);
    this.before = this.touched = null;
    return box;
  }

  undo() { return this.turn(this.past, this.future, "before"); }
  redo() { return this.turn(this.future, this.past, "after"); }

  turn(from, to, which) {
    const step = from.pop();
    if (!step) return null;
    const [x0, y0, x1, y1] = step.box, wide = x1 - x0;
    for (let y = y0; y < y1; y += 1) {
      this.labels.set(step[which].subarray((y - y0) * wide, (y - y0 + 1) * wide), y * this.width + x0);
    }
    to.push(step);
    return step.box;
  }

  cut(labels, [x0, y0, x1, y1]) {
    const wide = x1 - x0, out = new Uint8Array(wide * (y1 - y0));
    for (let y = y0; y < y1; y += 1) out.set(labels.subarray(y * this.width + x0, y * this.width + x1), (y - y0) * wide);
    return out;
  }

  grow(x0, y0, x1, y1) {
    const t = this.touched;
    this.touched = t ? [Math.min(t[0], x0), Math.min(t[1], y0), Math.max(t[2], x1), Math.max(t[3], y1)] : [x0, y0, x1, y1];
  }

  /** Set the pixels within `radius` of the line from a to b to value(i), into `target` (the labels by default). */
  line([ax, ay], [bx, by], radius, value, target = this.labels) {
    const x0 = Math.max(0, Math.floor(Math.min(ax, bx) - radius)), x1 = Math.min(this.width, Math.ceil(Math.max(ax, bx) + radius) + 1);
    const y0 = Math.max(0, Math.floor(Math.min(ay, by) - radius)), y1 = Math.min(this.height, Math.ceil(Math.max(ay, by) + radius) + 1);
    if (x0 >= x1 || y0 >= y1) return null;
    const dx = bx - ax, dy = by - ay, length = dx * dx + dy * dy || 1, reach = radius * radius;
    for (let y = y0; y < y1; y += 1) {
      for (let x = x0; x < x1; x += 1) {
        const px = x + 0.5 - ax, py = y + 0.5 - ay;
        const t = Math.max(0, Math.min(1, (px * dx + py * dy) / length));
        const ex = px - t * dx, ey = py - t * dy;
        if (ex * ex + ey * ey <= reach) { const i = y * this.width + x; target[i] = value(i); }
      }
    }
    if (target === this.labels) this.grow(x0, y0, x1, y1);
    return [x0, y0, x1, y1];
  }

  /** Set the pixels inside a polygon (even-odd, pixel centres). */
  polygon(points, value) {
    const ys = points.map((p) => p[1]);
    const y0 = Math.max(0, Math.floor(Math.min(...ys))), y1 = Math.min(this.height, Math.ceil(Math.max(...ys)));
    let left = this.width, right = 0;
    for (let y = y0; y < y1; y += 1) {
      const cuts = [];
      for (let i = 0; i < points.length; i += 1) {
        const [ax, ay] = points[i], [bx, by] = points[(i + 1) % points.length];
        if ((ay <= y + 0.5) !== (by <= y + 0.5)) cuts.push(ax + ((y + 0.5 - ay) / (by - ay)) * (bx - ax));
      }
      cuts.sort((a, b) => a - b);
      for (let i = 0; i + 1 < cuts.length; i += 2) {
        const from = Math.max(0, Math.ceil(cuts[i] - 0.5)), to = Math.min(this.width, Math.ceil(cuts[i + 1] - 0.5));
        if (from < to) { this.labels.fill(value, y * this.width + from, y * this.width + to); left = Math.min(left, from); right = Math.max(right, to); }
      }
    }
    if (left >= right) return null;
    this.grow(left, y0, right, y1);
    return this.touched;
  }

  /** Take over another mask of the same size. */
  replace(labels) {
    this.labels.set(labels);
    this.grow(0, 0, this.width, this.height);
  }
}
