// A lane for each curve over the time of a sound: drawn with the pointer, erased to "free", smoothed, undone. Its value
// is the JSON that sonoconvert.curves reads: {"rate": values a second, "values": {name: [number or null = free]}}.
(() => {
  const { make, icon } = window.Sonopaint;
  const RATE = 62.5, LANE = 62, LEFT = 76, RIGHT = 8, OFF = 9;  // OFF: the strip at the bottom that means "no pitch"
  const LANES = {
    loudness: { low: -60, high: 0, unit: "dB", hint: "Loudness, below the loudest moment" },
    pitch: { low: 65, high: 2093, log: true, off: 0, unit: "Hz", hint: "Pitch; the strip below the line means no pitch" },
    brightness: { low: 100, high: 12000, log: true, unit: "Hz", hint: "Brightness: the spectrum's centre" },
    onsets: { low: 0, high: 1, marks: true, unit: "", hint: "Onsets: click where something begins" },
  };
  // Points (share of the time, dB) of a loudness; as sonoconvert.curves.points has them.
  const SHAPES = {
    hit: [[0, -6], [0.01, 0], [0.2, -24], [0.6, -60], [1, -60]], swell: [[0, -60], [0.5, 0], [1, -60]],
    "fade in": [[0, -60], [1, 0]], "fade out": [[0, 0], [1, -60]], steady: [[0, 0], [1, 0]],
    pulse: [[0, 0], [0.12, -40], [0.249, -60], [0.25, 0], [0.37, -40], [0.499, -60], [0.5, 0], [0.62, -40], [0.749, -60], [0.75, 0], [1, -60]],
  };

  class CurveLanes {
    // changed(json): told after each stroke; "" where every curve is free.
    constructor(host, changed, seconds = 5.12) {
      this.tell = changed;
      this.seconds = seconds;
      this.tool = "draw";
      this.past = [];
      this.asked = {};
      this.got = null;
      const tool = (name, glyph, title) => make("button", { type: "button", class: "sp-tool sonopaint-tool", title, "aria-label": title,
        "aria-pressed": "false", onclick: () => { this.tool = name; this.refresh(); } }, icon(glyph));
      this.tools = { draw: tool("draw", "brush", "Draw"), free: tool("free", "eraser", "Erase: what is free is the model's choice") };
      const button = (glyph, title, action) => make("button", { type: "button", class: "sp-tool sonopaint-tool", title, "aria-label": title,
        onclick: action }, icon(glyph));
      this.back = button("undo", "Undo (Ctrl+Z)", () => this.undo());
      this.shape = make("select", { class: "cl-shape", "aria-label": "A loudness to begin with", onchange: () => this.take(this.shape.value) },
        make("option", { value: "" }, "Shape …"), ...Object.keys(SHAPES).map((name) => make("option", { value: name }, name)));
      this.text = make("span", { class: "cl-says", role: "status" });
      const bar = make("div", { class: "cl-bar" }, ...Object.values(this.tools), this.back,
        button("loop", "Smooth", () => this.smooth()), button("clear", "Everything free", () => this.clear()), this.shape, this.text);
      this.canvas = make("canvas", { class: "cl-canvas", tabindex: 0, role: "img",
        "aria-label": "Lanes to draw on: loudness, pitch, brightness and onsets over time" });
      this.root = make("div", { class: "cl" }, bar, this.canvas);
      host.append(this.root);
      this.canvas.addEventListener("pointerdown", (event) => this.begin(event));
      this.canvas.addEventListener("pointermove", (event) => (this.last ? this.stroke(event) : this.point(event)));
      for (const kind of ["pointerup", "pointercancel"]) this.canvas.addEventListener(kind, () => this.end());
      this.canvas.addEventListener("keydown", (event) => {
        if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") { event.preventDefault(); this.undo(); }
      });
      this.canvas.addEventListener("contextmenu", (event) => event.preventDefault());
      this.watcher = new ResizeObserver(() => this.draw());
      this.watcher.observe(this.canvas);
      this.refresh();
    }

    get frames() { return Math.max(1, Math.round(this.seconds * RATE)); }
    get value() {
      const values = {};
      for (const [name, row] of Object.entries(this.asked)) if (row.some((v) => v != null)) values[name] = row.map((v) => v ?? null);
      return Object.keys(values).length ? JSON.stringify({ rate: RATE, values }) : "";
    }
    set value(json) {
      this.asked = this.read(json);
      this.refresh();
    }

    // Rows at this widget's own rate and length; lanes that it does not have are passed over.
    read(json) {
      const rows = {};
      try {
        const { rate, values } = JSON.parse(json || "{}");
        for (const [name, row] of Object.entries(values ?? {})) {
          if (!(name in LANES)) continue;
          if (LANES[name].marks) {
            rows[name] = Array(this.frames).fill(0);
            row.forEach((v, k) => { const at = Math.round(k / rate * RATE); if (v > 0 && at < this.frames) rows[name][at] = v; });
          } else rows[name] = Array.from({ length: this.frames }, (_, k) => row[Math.round(k / RATE * rate)] ?? null);
        }
      } catch { /* damaged: as if there were none */ }
      return rows;
    }

    // What a sound measures, in a second colour; "" takes it away.
    show(json) {
      this.got = json ? this.read(json) : null;
      this.draw();
    }
    lasts(seconds) {
      if (!(seconds > 0) || Math.abs(seconds - this.seconds) < 1e-6) return;
      const kept = this.value;
      this.seconds = seconds;
      this.got = null;
      this.value = kept;
      this.tell(this.value);
    }
    say(text) { this.text.textContent = text; }

    top(name) { return Object.keys(LANES).indexOf(name) * (LANE + 6) + 2; }
    y(name, value) {
      const lane = LANES[name], room = LANE - (lane.off === undefined ? 0 : OFF);
      if (lane.off !== undefined && value === lane.off) return this.top(name) + LANE - OFF / 2;
      const share = lane.log ? Math.log(value / lane.low) / Math.log(lane.high / lane.low) : (value - lane.low) / (lane.high - lane.low);
      return this.top(name) + room * (1 - Math.min(1, Math.max(0, share)));
    }
    at(event) {
      const box = this.canvas.getBoundingClientRect();
      const x = event.clientX - box.left, y = event.clientY - box.top;
      const name = Object.keys(LANES)[Math.min(3, Math.max(0, Math.floor((y - 2) / (LANE + 6))))];
      const frame = Math.round((x - LEFT) / (box.width - LEFT - RIGHT) * (this.frames - 1));
      return { name, frame: Math.min(this.frames - 1, Math.max(0, frame)), y };
    }
    worth(name, y) {
      const lane = LANES[name], room = LANE - (lane.off === undefined ? 0 : OFF);
      if (lane.off !== undefined && y > this.top(name) + room) return lane.off;
      const share = 1 - Math.min(1, Math.max(0, (y - this.top(name)) / room));
      return lane.log ? lane.low * (lane.high / lane.low) ** share : lane.low + (lane.high - lane.low) * share;
    }

    begin(event) {
      event.preventDefault();
      this.canvas.focus({ preventScroll: true });
      this.canvas.setPointerCapture?.(event.pointerId);
      this.remember();
      this.erasing = this.tool === "free" || event.button === 2 || event.shiftKey;
      this.last = this.at(event);
      this.stroke(event);
    }
    stroke(event) {
      const now = { ...this.at(event), name: this.last.name }, { name } = now, lane = LANES[name];
      const row = (this.asked[name] ??= Array(this.frames).fill(lane.marks && !this.erasing ? 0 : null));
      if (lane.marks) {
        if (this.erasing) for (let k = Math.min(now.frame, this.last.frame) - 3; k <= Math.max(now.frame, this.last.frame) + 3; k++) row[k] = row[k] == null ? null : 0;
        else if (now.frame === this.last.frame) { row.forEach((v, k) => { row[k] = v ?? 0; }); row[now.frame] = 1; }
        if (this.erasing && !row.some((v) => v > 0)) row.fill(null);
      } else {
        const steps = Math.abs(now.frame - this.last.frame), from = this.last;
        for (let k = 0; k <= steps; k++) {
          const share = steps ? k / steps : 1;
          row[from.frame + Math.sign(now.frame - from.frame) * k] = this.erasing ? null : this.worth(name, from.y + (now.y - from.y) * share);
        }
      }
      row.length = this.frames;
      this.last = now;
      this.draw();
      this.point(event);
    }
    point(event) {
      const { name, frame, y } = this.at(event), lane = LANES[this.last?.name ?? name], value = this.worth(this.last?.name ?? name, y);
      const told = lane.marks ? "" : lane.off !== undefined && value === lane.off ? ", no pitch" : `, ${value.toFixed(0)} ${lane.unit}`;
      this.canvas.title = lane.hint;
      this.say(`${this.last?.name ?? name} at ${(frame / RATE).toFixed(2)} s${told}`);
    }
    end() {
      if (!this.last) return;
      this.last = null;
      this.changed();
    }

    remember() { this.past.push(JSON.stringify(this.asked)); if (this.past.length > 50) this.past.shift(); }
    undo() {
      if (!this.past.length) return;
      this.asked = JSON.parse(this.past.pop());
      this.changed();
    }
    clear() { this.remember(); this.asked = {}; this.changed(); }
    smooth() {
      this.remember();
      for (const [name, row] of Object.entries(this.asked)) {
        if (LANES[name].marks) continue;
        const off = LANES[name].off;
        this.asked[name] = row.map((value, k) => {
          if (value == null || value === off) return value;
          const near = row.slice(Math.max(0, k - 6), k + 7).filter((v) => v != null && v !== off);
          return near.reduce((a, b) => a + b, 0) / near.length;
        });
      }
      this.changed();
    }
    take(name) {
      const points = SHAPES[name];
      this.shape.value = "";
      if (!points) return;
      this.remember();
      this.asked.loudness = Array.from({ length: this.frames }, (_, k) => {
        const share = k / Math.max(1, this.frames - 1), next = Math.max(1, points.findIndex(([at]) => at >= share));
        const [[a, from], [b, to]] = [points[next - 1], points[next]];
        return from + (to - from) * (b > a ? Math.min(1, (share - a) / (b - a)) : 1);
      });
      this.changed();
    }
    changed() { this.got = null; this.refresh(); this.tell(this.value); }

    refresh() {
      for (const [name, tool] of Object.entries(this.tools)) tool.setAttribute("aria-pressed", this.tool === name);
      this.back.disabled = !this.past.length;
      this.draw();
    }

    draw() {
      const width = this.canvas.clientWidth || 400, height = 4 * (LANE + 6) + 16, scale = window.devicePixelRatio || 1;
      this.canvas.style.height = `${height}px`;
      this.canvas.width = Math.round(width * scale);
      this.canvas.height = Math.round(height * scale);
      const paint = this.canvas.getContext("2d"), room = width - LEFT - RIGHT;
      const colour = (name, otherwise) => getComputedStyle(this.root).getPropertyValue(name).trim() || otherwise;
      const quiet = window.Sonopaint.colour?.("quiet") || "#888", line = window.Sonopaint.colour?.("strong-line") || "#999";
      const inks = { asked: colour("--sp-paint", "#0a9a8a"), got: colour("--cl-got", "#e8743b") };
      paint.scale(scale, scale);
      paint.font = "11px system-ui, sans-serif";
      const x = (frame) => LEFT + frame / Math.max(1, this.frames - 1) * room;
      for (const [name, lane] of Object.entries(LANES)) {
        const top = this.top(name);
        paint.strokeStyle = line;
        paint.lineWidth = 1;
        paint.strokeRect(LEFT + 0.5, top + 0.5, room, LANE);
        if (lane.off !== undefined) { paint.beginPath(); paint.moveTo(LEFT, top + LANE - OFF + 0.5); paint.lineTo(LEFT + room, top + LANE - OFF + 0.5); paint.stroke(); }
        paint.fillStyle = quiet;
        paint.fillText(name, 4, top + LANE / 2 - 2);
        if (!lane.marks) { paint.fillText(`${lane.high} ${lane.unit}`, 4, top + 10); paint.fillText(`${lane.low}`, 4, top + LANE - (lane.off === undefined ? 2 : OFF)); }
        if (!this.asked[name]) paint.fillText("free", LEFT + 6, top + LANE / 2 + 4);
        for (const kind of ["asked", "got"]) this.row(paint, name, (kind === "asked" ? this.asked : this.got ?? {})[name], x, inks[kind]);
      }
      paint.fillStyle = quiet;
      const step = [0.5, 1, 2, 5, 10, 30].find((s) => room * s / this.seconds >= 36) ?? 60;  // pixels that a label needs
      for (let at = 0; at <= this.seconds + 1e-6; at += step) {
        const text = `${at} s`;
        paint.fillText(text, Math.min(x(at * RATE) - (at ? 8 : 0), width - paint.measureText(text).width), height - 4);
      }
    }
    row(paint, name, row, x, ink) {
      if (!row) return;
      const lane = LANES[name];
      paint.strokeStyle = ink;
      paint.lineWidth = 2;
      paint.beginPath();
      let drawing = false;
      row.forEach((value, k) => {
        if (lane.marks) {
          if (value > 0) { paint.moveTo(x(k), this.top(name) + LANE); paint.lineTo(x(k), this.top(name) + 4); }
        } else if (value == null) drawing = false;
        else {
          const jump = lane.off !== undefined && k > 0 && (value === lane.off) !== (row[k - 1] === lane.off);
          if (drawing && !jump) paint.lineTo(x(k), this.y(name, value)); else paint.moveTo(x(k), this.y(name, value));
          drawing = true;
        }
      });
      paint.stroke();
    }
    destroy() { this.watcher.disconnect(); this.root.remove(); }
  }
  window.Sonopaint.CurveLanes = CurveLanes;
})();
