// A spectrogram with time and frequency axes, a player and its cursor. Cards and the editor build on it.
(() => {
  const { make, icon, time, fileUrl, colour } = window.Sonopaint;
  const MARGIN = { left: 44, right: 10, top: 8, bottom: 22 };
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

  class SpectrogramView {
    constructor(host, label) {
      this.host = host;
      this.canvas = make("canvas", { class: "sg-canvas", role: "img", "aria-label": label });
      this.cursor = make("div", { class: "sg-cursor" });
      this.frame = make("div", { class: "sg-frame" }, this.canvas, this.cursor);
      this.audio = make("audio", { preload: "metadata" });
      this.playButton = make("button", { class: "sg-play", type: "button", "aria-label": "Play", title: "Play (space)",
        onclick: () => this.toggle() }, icon("play"));
      this.clock = make("span", { class: "sg-clock" }, "0:00.0");
      this.player = make("div", { class: "sg-player" }, this.playButton, this.clock);
      host.append(this.frame, this.player, this.audio);
      this.data = null;
      this.from = 0;
      this.to = 1;
      for (const kind of ["play", "pause", "ended"]) this.audio.addEventListener(kind, () => this.playing());
      this.audio.addEventListener("seeked", () => this.moveCursor());
      this.onPlayElsewhere = (event) => { if (event.detail !== this) this.audio.pause(); };
      this.onTheme = () => this.draw();
      window.addEventListener("sonopaint-play", this.onPlayElsewhere);
      window.addEventListener("sonopaint-theme", this.onTheme);
      this.resize = new ResizeObserver(() => this.draw());
      this.resize.observe(this.frame);
      this.canvas.addEventListener("pointerdown", (event) => this.pressed(event));
    }

    destroy() {
      this.audio.pause();
      this.resize.disconnect();
      window.removeEventListener("sonopaint-play", this.onPlayElsewhere);
      window.removeEventListener("sonopaint-theme", this.onTheme);
      this.host.replaceChildren();
    }

    // data: {view, audio, duration, edges, loop}; edges are the frequencies between the rows, lowest first.
    show(data) {
      this.data = data;
      this.picture = null;
      this.from = 0;
      this.to = data.duration;
      this.audio.pause();
      this.audio.src = fileUrl(data.audio);
      this.audio.loop = Boolean(data.loop);
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
        height: Math.max(1, height - MARGIN.top - MARGIN.bottom) };
    }
    x(t) { const p = this.plot; return p.x + (t - this.from) / (this.to - this.from) * p.width; }
    t(x) { const p = this.plot; return this.from + (x - p.x) / p.width * (this.to - this.from); }
    y(row) { const p = this.plot; return p.y + (1 - row / this.rows) * p.height; }
    row(y) { const p = this.plot; return (1 - (y - p.y) / p.height) * this.rows; }
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
        const perSecond = this.picture.width / this.data.duration;
        c.drawImage(this.picture, this.from * perSecond, 0, (this.to - this.from) * perSecond, this.picture.height,
          p.x, p.y, p.width, p.height);
      }
      this.drawOverlay(c, p);
      c.restore();
      this.drawAxes(c, p);
      this.moveCursor();
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
      c.fillText("Hz", p.x - 7, p.y + p.height + 12);
      c.textBaseline = "top";
      const { list, digits } = ticks(this.from, this.to, Math.max(2, p.width / 70));
      for (const t of list) {
        const x = this.x(t), long = this.to >= 60;
        c.beginPath(); c.moveTo(x, p.y + p.height); c.lineTo(x, p.y + p.height + 4); c.stroke();
        const text = long ? `${Math.floor(t / 60)}:${(t % 60).toFixed(digits).padStart(digits ? 3 + digits : 2, "0")}`
          : `${t.toFixed(digits)} s`;
        const half = c.measureText(text).width / 2;
        c.textAlign = "center";
        c.fillText(text, Math.min(Math.max(x, p.x + half), p.x + p.width - half + 6), p.y + p.height + 7);
      }
    }

    moveCursor() {
      if (!this.data) return;
      const p = this.plot, now = this.audio.currentTime, x = this.x(now);
      const shown = x >= p.x && x <= p.x + p.width && (now > 0 || !this.audio.paused);
      this.cursor.style.display = shown ? "block" : "none";
      this.cursor.style.transform = `translateX(${x}px)`;
      this.cursor.style.top = `${p.y}px`;
      this.cursor.style.height = `${p.height}px`;
      this.clock.textContent = `${time(now)} / ${time(this.data.duration)}`;
    }

    // Playing -------------------------------------------------------------------------------------------
    toggle() {
      if (!this.data) return;
      if (this.audio.paused) this.audio.play().catch(() => {}); else this.audio.pause();
    }
    seek(t) {
      this.audio.currentTime = Math.min(Math.max(t, 0), this.data.duration);
      this.moveCursor();
    }
    playing() {
      const on = !this.audio.paused;
      this.playButton.replaceChildren(icon(on ? "pause" : "play"));
      this.playButton.setAttribute("aria-label", on ? "Pause" : "Play");
      if (on) window.dispatchEvent(new CustomEvent("sonopaint-play", { detail: this }));
      const follow = () => {
        this.moveCursor();
        if (!this.audio.paused) requestAnimationFrame(follow);
      };
      follow();
    }
    pressed(event) {
      if (this.data && event.button === 0) this.seek(this.t(this.place(event).x));
    }
  }

  window.Sonopaint.SpectrogramView = SpectrogramView;
})();
