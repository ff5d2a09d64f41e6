// A spectrogram with time and frequency axes, the waveform below it, a player and its cursor. Cards and the editor
// build on it.
(() => {
  const { make, icon, time, fileUrl, colour } = window.Sonopaint;
  const MARGIN = { left: 44, right: 10, top: 8, bottom: 22 };
  const WAVE = { height: 40, gap: 5 };
  const METER_DB = 60, FALL_DB = 24;  // what the level meter shows, and how fast it falls in a second
  const STEP_S = 0.5;
  // Where a frequency stands on an axis; the rows of the pictures themselves are mel bands.
  const LOWEST = 20;
  const AXES = { log: { of: (hz) => Math.log(Math.max(hz, LOWEST)), hz: Math.exp }, linear: { of: (hz) => hz, hz: (u) => u } };
  const STOPS = [[0, 13, 11, 20], [0.2, 38, 20, 72], [0.42, 112, 31, 108], [0.62, 200, 61, 84],
    [0.82, 246, 145, 62], [1, 255, 244, 200]];

  // 256 colours from silence (night) over ember to loud (cream).
  const PALETTE = Array.from({ length: 256 }, (_, i) => {
    const level = i / 255;
    const k = Math.max(1, STOPS.findIndex((stop) => stop[0] >= level));
    const [a, b] = [STOPS[k - 1], STOPS[k]];
    const part = (level - a[0]) / (b[0] - a[0]);
    return [1, 2, 3].map((c) => Math.round(a[c] + part * (b[c] - a[c])));
  });

  function coloured(image) {
    const canvas = make("canvas", { width: image.naturalWidth, height: image.naturalHeight });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
    for (let i = 0; i < pixels.data.length; i += 4) {
      [pixels.data[i], pixels.data[i + 1], pixels.data[i + 2]] = PALETTE[pixels.data[i]];
    }
    context.putImageData(pixels, 0, 0);
    return canvas;
  }

  function ticks(from, to, room) {
    const steps = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300];
    const step = steps.find((s) => (to - from) / s <= room) ?? 600;
    const list = [];
    for (let k = Math.ceil(from / step - 1e-9); k * step <= to + 1e-9; k++) list.push(k * step);
    return { list, digits: step < 0.1 ? 2 : step < 1 ? 1 : 0 };
  }

  // min and max of each column, 0 … 255 around 128; small values have more steps (signed square roots).
  function unpacked(text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return Float32Array.from(bytes, (byte) => { const v = (byte - 128) / 127; return v * Math.abs(v); });
  }

  class SpectrogramView {
    // tools: with a button that loops and a level meter.
    constructor(host, label, { tools = false } = {}) {
      this.host = host;
      this.canvas = make("canvas", { class: "sg-canvas", role: "img", "aria-label": label });
      this.cursor = make("div", { class: "sg-cursor" });
      this.frame = make("div", { class: "sg-frame" }, this.canvas, this.cursor);
      this.audio = make("audio", { preload: "metadata" });
      this.playButton = make("button", { class: "sg-play", type: "button", "aria-label": "Play", title: "Play (space)",
        onclick: () => this.toggle() }, icon("play"));
      this.clock = make("span", { class: "sg-clock" }, "0:00.0");
      this.loopButton = make("button", { class: "sg-loop", type: "button", "aria-pressed": "false", "aria-label": "Loop",
        title: "Play round and round: what is marked, or all", onclick: () => this.loop(!this.looping) }, icon("loop"));
      this.meter = make("span", { class: "sg-level", title: "Level (peak), −60 to 0 dBFS", "aria-hidden": "true" }, make("i"));
      this.player = make("div", { class: "sg-player" }, this.playButton, ...(tools ? [this.loopButton] : []), this.clock,
        ...(tools ? [this.meter] : []));
      host.append(this.frame, this.player, this.audio);
      host.addEventListener("keydown", (event) => this.steer(event));
      this.looping = false;
      this.level = { db: -Infinity, at: 0 };
      this.data = null;
      this.from = 0;
      this.to = 1;
      for (const kind of ["play", "pause", "ended"]) this.audio.addEventListener(kind, () => this.playing());
      this.audio.addEventListener("seeked", () => this.moveCursor());
      this.onPlayElsewhere = (event) => { if (event.detail !== this) this.audio.pause(); };
      this.onTheme = () => this.draw();
      window.addEventListener("sonopaint-play", this.onPlayElsewhere);
      for (const kind of ["sonopaint-theme", "sonopaint-axis"]) window.addEventListener(kind, this.onTheme);
      this.resize = new ResizeObserver(() => this.draw());
      this.resize.observe(this.frame);
      this.canvas.addEventListener("pointerdown", (event) => this.pressed(event));
    }

    destroy() {
      this.audio.pause();
      this.resize.disconnect();
      window.removeEventListener("sonopaint-play", this.onPlayElsewhere);
      for (const kind of ["sonopaint-theme", "sonopaint-axis"]) window.removeEventListener(kind, this.onTheme);
      this.host.replaceChildren();
    }

    // data: {view, audio, duration, edges, loop, wave}; edges are the frequencies between the rows, lowest first;
    // wave, where there is one, is the waveform's outline (sonoconvert.pictures.view.wave_of).
    show(data) {
      this.data = data;
      this.picture = null;
      this.from = 0;
      this.to = data.duration;
      this.audio.pause();
      this.audio.src = fileUrl(data.audio);
      this.wave = data.wave ? unpacked(data.wave) : null;
      this.loop(Boolean(data.loop));
      const image = new Image();
      image.onload = () => {
        if (this.data !== data) return;
        this.picture = coloured(image);
        this.draw();
      };
      image.src = fileUrl(data.view);
      this.draw();
      this.playing();
    }

    // Geometry ------------------------------------------------------------------------------------------
    get plot() {
      const width = this.frame.clientWidth, height = this.frame.clientHeight;
      return { x: MARGIN.left, y: MARGIN.top, width: Math.max(1, width - MARGIN.left - MARGIN.right),
        height: Math.max(1, height - MARGIN.top - MARGIN.bottom - (this.wave ? WAVE.height + WAVE.gap : 0)) };
    }
    // Where the picture and the waveform end.
    get bottom() { return this.frame.clientHeight - MARGIN.bottom; }
    x(t) { const p = this.plot; return p.x + (t - this.from) / (this.to - this.from) * p.width; }
    t(x) { const p = this.plot; return this.from + (x - p.x) / p.width * (this.to - this.from); }
    y(row) { const p = this.plot; return p.y + (1 - this.part(row)) * p.height; }
    row(y) {
      const p = this.plot, part = 1 - (y - p.y) / p.height, axis = AXES[window.Sonopaint.axis];
      if (!axis) return part * this.rows;
      const low = axis.of(this.data.edges[0]), high = axis.of(this.data.edges[this.rows]);
      return part < 0 ? -1 : part > 1 ? this.rows + 1 : this.rowOf(axis.hz(low + part * (high - low)));
    }
    // Where the lower edge of a row stands, 0 … 1 from the bottom of the plot.
    part(row) {
      const axis = AXES[window.Sonopaint.axis];
      if (!axis) return row / this.rows;
      const low = axis.of(this.data.edges[0]), high = axis.of(this.data.edges[this.rows]);
      return (axis.of(this.hz(row)) - low) / (high - low);
    }
    get rows() { return this.data.edges.length - 1; }
    hz(row) {
      const k = Math.min(Math.max(Math.floor(row), 0), this.rows - 1), edges = this.data.edges;
      return edges[k] + (row - k) * (edges[k + 1] - edges[k]);
    }
    rowOf(hz) {
      const edges = this.data.edges;
      let low = 0, high = this.rows;
      while (high - low > 1) {
        const middle = (low + high) >> 1;
        if (edges[middle] <= hz) low = middle; else high = middle;
      }
      return Math.min(Math.max(low + (hz - edges[low]) / (edges[low + 1] - edges[low]), 0), this.rows);
    }
    place(event) {
      const bounds = this.canvas.getBoundingClientRect();
      // A host may show the view scaled (ComfyUI zooms its nodes): back to the view's own pixels.
      const scale = bounds.width ? this.canvas.clientWidth / bounds.width : 1;
      return { x: (event.clientX - bounds.left) * scale, y: (event.clientY - bounds.top) * scale };
    }

    // Drawing -------------------------------------------------------------------------------------------
    draw() {
      const width = this.frame.clientWidth, height = this.frame.clientHeight;
      if (!width || !height || !this.data) return;
      const scale = window.devicePixelRatio || 1;
      if (this.canvas.width !== Math.round(width * scale) || this.canvas.height !== Math.round(height * scale)) {
        this.canvas.width = Math.round(width * scale);
        this.canvas.height = Math.round(height * scale);
      }
      const c = this.canvas.getContext("2d"), p = this.plot;
      c.setTransform(scale, 0, 0, scale, 0, 0);
      c.clearRect(0, 0, width, height);
      c.save();
      c.beginPath();
      c.roundRect(p.x, p.y, p.width, p.height, 4);
      c.clip();
      c.fillStyle = `rgb(${PALETTE[0]})`;
      c.fillRect(p.x, p.y, p.width, p.height);
      if (this.picture) {
        c.imageSmoothingQuality = "high";
        this.drawRows(c, p, this.picture);
      }
      this.drawOverlay(c, p);
      c.restore();
      if (this.wave) this.drawWave(c, p);
      this.drawAxes(c, p);
      this.moveCursor();
    }

    // A picture of all of the sound, its rows where the axis has them.
    drawRows(c, p, image) {
      const perSecond = image.width / this.data.duration, x = this.from * perSecond, width = (this.to - this.from) * perSecond;
      if (!AXES[window.Sonopaint.axis]) { c.drawImage(image, x, 0, width, image.height, p.x, p.y, p.width, p.height); return; }
      const height = image.height / this.rows;
      for (let row = 0; row < this.rows; row++) {
        const top = Math.round(this.y(row + 1)), bottom = Math.round(this.y(row));
        if (bottom > top) c.drawImage(image, x, (this.rows - 1 - row) * height, width, height, p.x, top, p.width, bottom - top);
      }
    }

    drawWave(c, p) {
      const top = this.bottom - WAVE.height, middle = top + WAVE.height / 2, columns = this.wave.length / 2;
      c.fillStyle = `rgb(${PALETTE[0]})`;
      c.beginPath();
      c.roundRect(p.x, top, p.width, WAVE.height, 4);
      c.fill();
      c.fillStyle = `rgb(${PALETTE[215]})`;
      for (let x = 0; x < p.width; x++) {
        const [from, to] = [x, x + 1].map((at) => (this.from + at / p.width * (this.to - this.from)) / this.data.duration * columns);
        const [low, high] = this.extremes(from, to);
        c.fillRect(p.x + x, middle - high * WAVE.height / 2, 1, Math.max(1, (high - low) * WAVE.height / 2));
      }
    }
    // Lowest and highest sample between two columns of the waveform.
    extremes(from, to) {
      const columns = this.wave.length / 2;
      let low = Infinity, high = -Infinity;
      const first = Math.min(Math.max(Math.floor(from), 0), columns - 1), last = Math.min(Math.max(Math.ceil(to), first + 1), columns);
      for (let k = first; k < last; k++) {
        low = Math.min(low, this.wave[2 * k]);
        high = Math.max(high, this.wave[2 * k + 1]);
      }
      return [low, high];
    }

    drawOverlay() {}

    drawAxes(c, p) {
      c.font = "11px system-ui, sans-serif";
      c.fillStyle = colour("quiet");
      c.strokeStyle = colour("strong-line");
      c.lineWidth = 1;
      c.textBaseline = "middle";
      c.textAlign = "right";
      const top = this.data.edges[this.rows], bottom = this.data.edges[0];
      let last = Infinity;
      for (const hz of [50, 100, 200, 500, 1000, 2000, 4000, 8000, 16000, 20000]) {
        if (hz < bottom || hz > top * 1.02) continue;
        const y = Math.max(this.y(this.rowOf(hz)), p.y + 5);
        if (last - y < 15) continue;
        last = y;
        c.beginPath(); c.moveTo(p.x - 4, y); c.lineTo(p.x, y); c.stroke();
        c.fillText(hz >= 1000 ? `${hz / 1000} k` : String(hz), p.x - 7, y);
      }
      c.fillText("Hz", p.x - 7, this.bottom + 12);
      c.textBaseline = "top";
      const { list, digits } = ticks(this.from, this.to, Math.max(2, p.width / 70));
      for (const t of list) {
        const x = this.x(t), long = this.to >= 60;
        c.beginPath(); c.moveTo(x, this.bottom); c.lineTo(x, this.bottom + 4); c.stroke();
        const text = long ? `${Math.floor(t / 60)}:${(t % 60).toFixed(digits).padStart(digits ? 3 + digits : 2, "0")}`
          : `${t.toFixed(digits)} s`;
        const half = c.measureText(text).width / 2;
        c.textAlign = "center";
        c.fillText(text, Math.min(Math.max(x, p.x + half), p.x + p.width - half + 6), this.bottom + 7);
      }
    }

    moveCursor() {
      if (!this.data) return;
      const p = this.plot, now = this.now, x = this.x(now);
      const shown = x >= p.x && x <= p.x + p.width && (now > 0 || !this.audio.paused);
      this.cursor.style.display = shown ? "block" : "none";
      this.cursor.style.transform = `translateX(${x}px)`;
      this.cursor.style.top = `${p.y}px`;
      this.cursor.style.height = `${this.bottom - p.y}px`;
      this.clock.textContent = `${time(now)} / ${time(this.data.duration)}`;
      if (this.wave) this.showLevel(now);
    }
    // The present peak; it falls slowly, so that eyes can follow.
    showLevel(now) {
      const on = !this.audio.paused || this.played != null, clock = performance.now();
      const columns = this.wave.length / 2 / this.data.duration;
      const [low, high] = on ? this.extremes(now * columns, (now + 0.02) * columns) : [0, 0];
      const peak = 20 * Math.log10(Math.max(-low, high, 1e-6)), fallen = this.level.db - FALL_DB * (clock - this.level.at) / 1000;
      this.level = { db: on ? Math.max(peak, fallen) : -Infinity, at: clock };
      const part = Math.min(Math.max(1 + this.level.db / METER_DB, 0), 1);
      this.meter.firstChild.style.width = `${100 * part}%`;
      this.meter.classList.toggle("sg-full", this.level.db > -0.1);
    }

    // Playing -------------------------------------------------------------------------------------------
    // Where it plays; `played` is set by who plays the sound in another way.
    get now() { return this.played ?? this.audio.currentTime; }
    // {from, to} in seconds of what is marked; null: all.
    get range() { return null; }
    toggle() {
      if (!this.data) return;
      if (!this.audio.paused) { this.audio.pause(); return; }
      const range = this.looping && this.range, now = this.audio.currentTime;
      if (range && (now < range.from || now >= range.to)) this.seek(range.from);
      this.audio.play().catch(() => {});
    }
    loop(on) {
      this.looping = on;
      this.loopButton.setAttribute("aria-pressed", on);
      this.audio.loop = on && !this.range;
    }
    // Arrows, Home and End go through the sound wherever the focus is, but for fields that need them.
    steer(event) {
      if (!this.data || event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
      const step = (event.shiftKey ? 0.1 : 1) * STEP_S, now = this.audio.currentTime;
      const to = { ArrowLeft: now - step, ArrowRight: now + step, Home: 0, End: this.data.duration }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      this.seek(to);
    }
    seek(t) {
      this.audio.currentTime = Math.min(Math.max(t, 0), this.data.duration);
      this.moveCursor();
    }
    playing() {
      const on = !this.audio.paused;
      this.audio.loop = this.looping && !this.range;
      if (this.audio.ended && this.looping) { this.toggle(); return; }  // what is marked ends where the sound does
      this.playButton.replaceChildren(icon(on ? "pause" : "play"));
      this.playButton.setAttribute("aria-label", on ? "Pause" : "Play");
      if (on) window.dispatchEvent(new CustomEvent("sonopaint-play", { detail: this }));
      const follow = () => {
        const range = this.looping && this.range;
        if (range && !this.audio.paused && this.audio.currentTime >= range.to) this.audio.currentTime = range.from;
        this.moveCursor();
        if (!this.audio.paused) requestAnimationFrame(follow);
      };
      follow();
    }
    pressed(event) {
      if (this.data && event.button === 0) this.seek(this.t(this.place(event).x));
    }
  }

  // Which axis of frequencies all views have: mel (as the pictures), log or linear.
  window.Sonopaint.axis = "mel";
  window.Sonopaint.setAxis = (name) => {
    window.Sonopaint.axis = name;
    window.dispatchEvent(new Event("sonopaint-axis"));
  };
  Object.assign(window.Sonopaint, { SpectrogramView, coloured });
})();
