// The region editor: a spectrogram on which boxes are dragged and strokes are painted. What is marked is a list
// of marks (boxes, strokes) in seconds and mel rows; every change makes a new list, so undo is a list of lists.
(() => {
  const { make, SpectrogramView } = window.Sonopaint;
  const COLUMNS_PER_SECOND = 62.5, MAX_COLUMNS = 8192, GRIP = 7, TINIEST = 4;
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  class RegionEditor extends SpectrogramView {
    constructor(host, label, changed, options) {
      super(host, label, options);
      this.changed = changed;
      this.tool = "box";
      this.size = 28;
      this.typed = [];  // boxes in seconds and hertz that are shown but not edited here
      this.frame.tabIndex = 0;
      this.canvas.addEventListener("pointermove", (event) => this.moved(event));
      for (const kind of ["pointerup", "pointercancel"]) this.canvas.addEventListener(kind, () => this.released());
      this.canvas.addEventListener("pointerleave", () => { this.pointer = null; this.draw(); });
      this.canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
      this.frame.addEventListener("keydown", (event) => this.key(event));
      this.forget();
    }

    forget() {
      this.marks = [];
      this.past = [];
      this.future = [];
      this.selected = -1;
      this.drag = null;
      this.pointer = null;
    }

    show(data) {
      this.forget();
      const columns = clamp(Math.ceil(data.duration * COLUMNS_PER_SECOND), 64, MAX_COLUMNS);
      this.mask = make("canvas", { width: columns, height: data.edges.length - 1 });
      super.show(data);
      this.changed();
    }

    // Marks ---------------------------------------------------------------------------------------------
    set(marks, selected = -1, { keep = true } = {}) {
      if (keep) { this.past.push(this.marks); this.future = []; }
      this.marks = marks;
      this.selected = selected;
      this.raster();
      this.draw();
      this.changed();
    }
    undo() {
      if (!this.past.length) return false;
      this.future.push(this.marks);
      this.set(this.past.pop(), -1, { keep: false });
      return true;
    }
    redo() {
      if (!this.future.length) return false;
      this.past.push(this.marks);
      this.set(this.future.pop(), -1, { keep: false });
      return true;
    }
    clear() { if (this.marks.length) this.set([]); }
    remove(index) { this.set(this.marks.filter((_, i) => i !== index)); }
    replace(index, mark, options) {
      this.set(this.marks.map((old, i) => (i === index ? mark : old)), index, options);
    }

    // What the server gets: exact boxes where there are only boxes, else one picture of everything marked.
    region() {
      if (!this.data || !this.marks.length) return { boxes: [], brush: "" };
      if (this.marks.every((mark) => mark.kind === "box")) {
        return { boxes: this.marks.map((mark) => this.inUnits(mark)), brush: "" };
      }
      const copy = make("canvas", { width: this.mask.width, height: this.mask.height });
      const c = copy.getContext("2d");
      c.drawImage(this.mask, 0, 0);
      c.globalCompositeOperation = "source-in";
      c.fillStyle = "#fff";
      c.fillRect(0, 0, copy.width, copy.height);
      return { boxes: [], brush: copy.toDataURL("image/png") };
    }
    // What is marked, in time.
    get range() {
      const spans = (this.marks ?? []).filter((mark) => !mark.erase).map((mark) => (mark.kind === "box" ? [mark.t0, mark.t1]
        : [Math.min(...mark.points.map(([t]) => t)) - mark.radiusT, Math.max(...mark.points.map(([t]) => t)) + mark.radiusT]));
      if (!spans.length || !this.data) return null;
      const from = Math.max(0, Math.min(...spans.map((span) => span[0])));
      return { from, to: Math.min(this.data.duration, Math.max(...spans.map((span) => span[1]))) };
    }
    inUnits(mark) {
      return { start: mark.t0, end: Math.min(mark.t1, this.data.duration),
        low: mark.r0 <= 0.01 ? null : this.hz(mark.r0), high: mark.r1 >= this.rows - 0.01 ? null : this.hz(mark.r1) };
    }

    raster() {
      const c = this.mask.getContext("2d"), columns = this.mask.width, rows = this.mask.height;
      const sx = columns / this.data.duration, sy = rows / this.rows;
      c.setTransform(1, 0, 0, 1, 0, 0);
      c.globalCompositeOperation = "source-over";
      c.clearRect(0, 0, columns, rows);
      c.fillStyle = c.strokeStyle = "#18c7b2";
      for (const mark of this.marks) {
        if (mark.kind === "box") {
          c.fillRect(mark.t0 * sx, (this.rows - mark.r1) * sy, (mark.t1 - mark.t0) * sx, (mark.r1 - mark.r0) * sy);
          continue;
        }
        // A brush that is round on the screen is an ellipse on the grid: draw in units of its radii.
        c.save();
        c.globalCompositeOperation = mark.erase ? "destination-out" : "source-over";
        c.scale(mark.radiusT * sx, mark.radiusR * sy);
        c.lineWidth = 2;
        c.lineCap = c.lineJoin = "round";
        c.beginPath();
        mark.points.forEach(([t, r], i) => {
          const x = t / mark.radiusT, y = (this.rows - r) / mark.radiusR;
          if (i) c.lineTo(x, y); else c.moveTo(x, y), c.lineTo(x + 1e-4, y);
        });
        c.stroke();
        c.restore();
      }
    }

    drawOverlay(c, p) {
      if (!this.data) return;
      if (this.marks.length) {
        c.imageSmoothingEnabled = false;
        // First the hue (what is under the marks stays readable), then a veil (silence is marked visibly too).
        for (const [how, alpha] of [["color", 0.8], ["source-over", 0.26]]) {
          c.globalCompositeOperation = how;
          c.globalAlpha = alpha;
          this.drawRows(c, p, this.mask);
        }
        c.globalCompositeOperation = "source-over";
        c.globalAlpha = 1;
        c.imageSmoothingEnabled = true;
      }
      c.strokeStyle = "#ffe28a";
      c.lineWidth = 1;
      c.setLineDash([5, 4]);
      for (const { start, end, low, high } of this.typed) {
        const x = this.x(start ?? 0), w = this.x(end ?? this.data.duration) - x;
        const top = this.y(high == null ? this.rows : this.rowOf(high)), bottom = this.y(low == null ? 0 : this.rowOf(low));
        if (w > 0 && bottom > top) c.strokeRect(x + 0.5, top + 0.5, w - 1, bottom - top - 1);
      }
      c.setLineDash([]);
      this.marks.forEach((mark, i) => {
        if (mark.kind !== "box") return;
        const x = this.x(mark.t0), y = this.y(mark.r1), w = this.x(mark.t1) - x, h = this.y(mark.r0) - y;
        c.strokeStyle = "#7ff5e6";
        c.lineWidth = i === this.selected ? 2 : 1;
        c.strokeRect(x + 0.5, y + 0.5, w - 1, h - 1);
        if (i !== this.selected) return;
        c.fillStyle = "#eafffb";
        for (const px of [x, x + w]) for (const py of [y, y + h]) c.fillRect(px - 3, py - 3, 6, 6);
      });
      if (this.pointer && this.tool !== "box") {
        c.strokeStyle = "#eafffb";
        c.lineWidth = 1.2;
        c.setLineDash(this.tool === "eraser" ? [3, 3] : []);
        c.beginPath();
        c.arc(this.pointer.x, this.pointer.y, this.size / 2, 0, 7);
        c.stroke();
        c.setLineDash([]);
      }
    }

    // Pointer -------------------------------------------------------------------------------------------
    inPlot({ x, y }) {
      const p = this.plot;
      return x >= p.x - 2 && x <= p.x + p.width + 2 && y >= p.y - 2 && y <= p.y + p.height + 2;
    }
    at(point) {
      return { t: clamp(this.t(point.x), 0, this.data.duration), r: clamp(this.row(point.y), 0, this.rows) };
    }
    // Which part of which box is under the pointer: {index, left, right, top, bottom} or null.
    hit({ x, y }) {
      for (let index = this.marks.length - 1; index >= 0; index--) {
        const mark = this.marks[index];
        if (mark.kind !== "box") continue;
        const x0 = this.x(mark.t0), x1 = this.x(mark.t1), y0 = this.y(mark.r1), y1 = this.y(mark.r0);
        if (x < x0 - GRIP || x > x1 + GRIP || y < y0 - GRIP || y > y1 + GRIP) continue;
        const near = (a, b) => Math.abs(a - b) <= GRIP;
        return { index, left: near(x, x0), right: near(x, x1), top: near(y, y0), bottom: near(y, y1) };
      }
      return null;
    }

    pressed(event) {
      if (!this.data || event.button !== 0) return;
      const point = this.place(event);
      this.frame.focus({ preventScroll: true });
      this.canvas.setPointerCapture(event.pointerId);
      const here = this.at(point);
      this.before = this.marks;
      if (!this.inPlot(point)) {  // in the waveform, the scale or the margins: a span of time over all frequencies
        if (this.tool === "box") this.drag = { fresh: true, span: true, start: here, point };
        this.seek(here.t);
        return;
      }
      if (this.tool === "box") {
        const hit = this.hit(point);
        this.drag = hit ? { ...hit, start: here, box: this.marks[hit.index] } : { fresh: true, start: here, point };
        if (hit) { this.selected = hit.index; this.draw(); this.changed(); }
        return;
      }
      const p = this.plot;
      const rows = Math.abs(this.row(point.y - this.size / 2) - this.row(point.y + this.size / 2));
      const stroke = { kind: "stroke", erase: this.tool === "eraser", points: [[here.t, here.r]],
        radiusT: this.size / 2 / p.width * (this.to - this.from), radiusR: Math.max(rows / 2, 0.5) };
      this.drag = { stroke };
      this.set([...this.before, stroke], -1, { keep: false });
    }

    moved(event) {
      if (!this.data) return;
      const point = this.place(event), here = this.at(point);
      this.pointer = this.inPlot(point) ? point : null;
      if (!this.drag) { this.canvas.style.cursor = this.shape(point); if (this.tool !== "box") this.draw(); return; }
      if (this.drag.stroke) {
        for (const e of event.getCoalescedEvents?.() ?? [event]) {
          const q = this.at(this.place(e));
          this.drag.stroke.points.push([q.t, q.r]);
        }
        this.raster();
        this.draw();
      } else if (this.drag.fresh) {
        const { span, start, point: origin } = this.drag;
        if (Math.abs(point.x - origin.x) < TINIEST || (!span && Math.abs(point.y - origin.y) < TINIEST)) return;
        const box = { kind: "box", t0: Math.min(start.t, here.t), t1: Math.max(start.t, here.t),
          r0: span ? 0 : Math.min(start.r, here.r), r1: span ? this.rows : Math.max(start.r, here.r) };
        this.set([...this.before, box], this.before.length, { keep: false });
      } else {
        this.replace(this.drag.index, this.dragged(here), { keep: false });
      }
    }

    dragged(here) {
      const { box, start, left, right, top, bottom } = this.drag;
      const dt = here.t - start.t, dr = here.r - start.r;
      if (!left && !right && !top && !bottom) {
        const t = clamp(dt, -box.t0, this.data.duration - box.t1), r = clamp(dr, -box.r0, this.rows - box.r1);
        return { ...box, t0: box.t0 + t, t1: box.t1 + t, r0: box.r0 + r, r1: box.r1 + r };
      }
      const t0 = box.t0 + (left ? dt : 0), t1 = box.t1 + (right ? dt : 0);
      const r0 = box.r0 + (bottom ? dr : 0), r1 = box.r1 + (top ? dr : 0);
      const leastT = (this.to - this.from) / 400, leastR = 0.5;
      return { ...box, t0: clamp(Math.min(t0, t1 - leastT), 0, this.data.duration), r0: clamp(Math.min(r0, r1 - leastR), 0, this.rows),
        t1: clamp(Math.max(t1, t0 + leastT), 0, this.data.duration), r1: clamp(Math.max(r1, r0 + leastR), 0, this.rows) };
    }

    released() {
      if (!this.drag) return;
      const clicked = this.drag.fresh && this.marks === this.before;
      this.drag = null;
      if (this.marks !== this.before) { this.past.push(this.before); this.future = []; }
      if (clicked) this.selected = -1;
      this.draw();
      this.changed();
    }

    shape(point) {
      if (!this.inPlot(point)) return "pointer";
      if (this.tool !== "box") return "none";
      const hit = this.hit(point);
      if (!hit) return "crosshair";
      if ((hit.left && hit.top) || (hit.right && hit.bottom)) return "nwse-resize";
      if ((hit.right && hit.top) || (hit.left && hit.bottom)) return "nesw-resize";
      return hit.left || hit.right ? "ew-resize" : hit.top || hit.bottom ? "ns-resize" : "move";
    }

    key(event) {
      if (event.key === " ") { event.preventDefault(); this.toggle(); }
      if ((event.key === "Delete" || event.key === "Backspace") && this.selected >= 0) this.remove(this.selected);
      if (event.key === "Escape") { this.selected = -1; this.draw(); this.changed(); }
    }

    // Zoom along time -----------------------------------------------------------------------------------
    zoom(factor, centre = (this.from + this.to) / 2) {
      if (!this.data) return;
      const span = clamp((this.to - this.from) * factor, Math.min(0.25, this.data.duration), this.data.duration);
      const part = (centre - this.from) / (this.to - this.from);
      this.window(centre - part * span, span);
    }
    window(from, span = this.to - this.from) {
      this.from = clamp(from, 0, Math.max(0, this.data.duration - span));
      this.to = this.from + span;
      this.draw();
      this.changed();
    }
    wheel(event) {
      if (!this.data) return;
      if (event.ctrlKey || event.metaKey) {
        event.preventDefault();
        this.zoom(event.deltaY > 0 ? 1.25 : 0.8, this.at(this.place(event)).t);
      } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
        event.preventDefault();
        this.window(this.from + Math.sign(event.deltaX || event.deltaY) * (this.to - this.from) * 0.08);
      }
    }
  }

  window.Sonopaint.RegionEditor = RegionEditor;
})();
