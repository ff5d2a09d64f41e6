// The editor: a spectrogram on which boxes are dragged and strokes are painted. What is marked is a list of
// marks (boxes, strokes) in seconds and mel rows; every change makes a new list, so undo is a list of lists.
(() => {
  const { make, icon, SpectrogramView } = window.Sonopaint;
  const COLUMNS_PER_SECOND = 62.5, MAX_COLUMNS = 8192, GRIP = 7, TINIEST = 4;
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  class Editor extends SpectrogramView {
    constructor(host, label, changed) {
      super(host, label);
      this.changed = changed;
      this.tool = "box";
      this.size = 28;
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
        const perSecond = this.mask.width / this.data.duration;
        c.imageSmoothingEnabled = false;
        // First the hue (what is under the marks stays readable), then a veil (silence is marked visibly too).
        for (const [how, alpha] of [["color", 0.8], ["source-over", 0.26]]) {
          c.globalCompositeOperation = how;
          c.globalAlpha = alpha;
          c.drawImage(this.mask, this.from * perSecond, 0, (this.to - this.from) * perSecond, this.mask.height,
            p.x, p.y, p.width, p.height);
        }
        c.globalCompositeOperation = "source-over";
        c.globalAlpha = 1;
        c.imageSmoothingEnabled = true;
      }
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
      if (!this.inPlot(point)) { this.seek(this.at(point).t); return; }
      this.canvas.setPointerCapture(event.pointerId);
      const here = this.at(point);
      this.before = this.marks;
      if (this.tool === "box") {
        const hit = this.hit(point);
        this.drag = hit ? { ...hit, start: here, box: this.marks[hit.index] } : { fresh: true, start: here, point };
        if (hit) { this.selected = hit.index; this.draw(); this.changed(); }
        return;
      }
      const p = this.plot;
      const stroke = { kind: "stroke", erase: this.tool === "eraser", points: [[here.t, here.r]],
        radiusT: this.size / 2 / p.width * (this.to - this.from), radiusR: this.size / 2 / p.height * this.rows };
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
        const { start, point: origin } = this.drag;
        if (Math.abs(point.x - origin.x) < TINIEST || Math.abs(point.y - origin.y) < TINIEST) return;
        const box = { kind: "box", t0: Math.min(start.t, here.t), t1: Math.max(start.t, here.t),
          r0: Math.min(start.r, here.r), r1: Math.max(start.r, here.r) };
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

  // A recording as 32-bit float WAV, as the sound converter reads it.
  function wavFile(buffer) {
    const channels = buffer.numberOfChannels, frames = buffer.length;
    const bytes = new DataView(new ArrayBuffer(44 + frames * channels * 4));
    const text = (at, letters) => [...letters].forEach((l, i) => bytes.setUint8(at + i, l.charCodeAt(0)));
    text(0, "RIFF"); bytes.setUint32(4, 36 + frames * channels * 4, true); text(8, "WAVEfmt ");
    bytes.setUint32(16, 16, true); bytes.setUint16(20, 3, true); bytes.setUint16(22, channels, true);
    bytes.setUint32(24, buffer.sampleRate, true); bytes.setUint32(28, buffer.sampleRate * channels * 4, true);
    bytes.setUint16(32, channels * 4, true); bytes.setUint16(34, 32, true);
    text(36, "data"); bytes.setUint32(40, frames * channels * 4, true);
    for (let c = 0; c < channels; c++) {
      buffer.getChannelData(c).forEach((sample, i) => bytes.setFloat32(44 + (i * channels + c) * 4, sample, true));
    }
    return new File([bytes.buffer], "recording.wav", { type: "audio/wav" });
  }

  // value: {source: null | view data, undo: bool, redo: bool}; events: 'opened' {path, name}, 'undo', 'redo'.
  window.Sonopaint.mountEditor = (element, { props, trigger, watch, upload }) => {
    const root = element.querySelector(".sp-editor");
    const button = (name, title, action) => make("button", { type: "button", class: "sp-tool", title,
      "aria-label": title, onclick: action }, icon(name));
    const picker = make("input", { type: "file", accept: "audio/*,image/png,.wav,.flac,.ogg,.mp3,.png", hidden: true,
      onchange: () => { open(picker.files[0]); picker.value = ""; } });
    const notice = make("p", { class: "sp-notice", role: "status", hidden: true });
    const say = (text) => { notice.textContent = text; notice.hidden = !text; };

    async function open(file) {
      if (!file) return;
      say(`Reading ${file.name} …`);
      try {
        const { path } = await upload(file);
        say("");
        trigger("opened", { path, name: file.name });
      } catch (error) {
        say(`${file.name} could not be read: ${error.message}`);
      }
    }

    let recorder = null;
    async function record() {
      if (recorder) { recorder.stop(); return; }
      try {
        const stream = await navigator.mediaDevices.getUserMedia({
          audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false } });
        const parts = [];
        recorder = new MediaRecorder(stream);
        recorder.ondataavailable = (event) => parts.push(event.data);
        recorder.onstop = async () => {
          recorder = null;
          stream.getTracks().forEach((track) => track.stop());
          root.classList.remove("recording");
          const context = new AudioContext();
          const sound = await context.decodeAudioData(await new Blob(parts).arrayBuffer());
          context.close();
          open(wavFile(sound));
        };
        recorder.start();
        root.classList.add("recording");
        say("Recording … press Record again to stop.");
      } catch {
        recorder = null;
        say("The microphone can't be used: allow it in the browser's address bar, or open a file instead.");
      }
    }

    const title = make("strong", {}), note = make("span", { class: "sp-source-note" });
    const tools = Object.fromEntries([["box", "Box: drag over what to repaint"], ["brush", "Brush: paint over what to repaint"],
      ["eraser", "Eraser: take away from what is marked"]].map(([name, hint]) =>
      [name, button(name, hint, () => { editor.tool = name; refresh(); })]));
    const size = make("input", { type: "range", min: 6, max: 90, value: 28, class: "sp-size", title: "Brush size",
      "aria-label": "Brush size", oninput: () => { editor.size = Number(size.value); } });
    const undo = button("undo", "Undo (Ctrl+Z)", () => editor.undo() || trigger("undo"));
    const redo = button("undo", "Redo (Ctrl+Shift+Z)", () => editor.redo() || trigger("redo"));
    undo.id = "edit-undo"; redo.id = "edit-redo"; redo.classList.add("mirrored");
    const clear = button("clear", "Clear the marks", () => editor.clear());
    const recordButton = make("button", { type: "button", class: "sp-button sp-record", onclick: record }, icon("record"), "Record");
    const bar = make("div", { class: "sp-toolbar" },
      make("span", { class: "sp-source" }, title, note),
      make("span", { class: "sp-group" }, ...Object.values(tools), size, clear),
      make("span", { class: "sp-group" }, undo, redo),
      make("span", { class: "sp-group" }, button("minus", "Zoom out (Ctrl+wheel)", () => editor.zoom(1.6)),
        button("plus", "Zoom in (Ctrl+wheel)", () => editor.zoom(0.625)), button("fit", "Whole sound", () => editor.zoom(1e9))),
      make("span", { class: "sp-group" }, make("button", { type: "button", class: "sp-button", onclick: () => picker.click() }, icon("open"), "Open"),
        recordButton));
    const host = make("div", { class: "sg sg-tall" });
    const pan = make("input", { type: "range", class: "sp-pan", "aria-label": "Scroll along the sound", min: 0, max: 1000,
      oninput: () => editor.window(pan.value / 1000 * (editor.data.duration - (editor.to - editor.from))) });
    const boxes = make("div", { class: "sp-boxes" });
    const drop = make("div", { class: "sp-drop" },
      make("p", {}, make("strong", {}, "Drop a sound here"), make("br"), "WAV, FLAC, OGG, MP3, or the picture (PNG) of a sound"),
      make("div", {}, make("button", { type: "button", class: "sp-button", onclick: () => picker.click() }, icon("open"), "Open a file"),
        make("button", { type: "button", class: "sp-button sp-record", onclick: record }, icon("record"), "Record")));
    const work = make("div", { class: "sp-work" }, bar, host);
    root.append(picker, drop, work, notice);
    const editor = new Editor(host, "Spectrogram of the sound to edit", () => refresh());
    editor.player.append(boxes);
    editor.frame.after(pan);

    function field(index, name, unit, text) {
      const box = editor.inUnits(editor.marks[index]);
      const values = { start: box.start.toFixed(2), end: box.end.toFixed(2),
        low: box.low == null ? "" : Math.round(box.low), high: box.high == null ? "" : Math.round(box.high) };
      const hint = { low: "lowest", high: "highest" }[name] ?? "";
      return make("label", {}, text, make("input", { type: "text", inputmode: "decimal", value: values[name], placeholder: hint,
        "aria-label": `Box ${name} in ${unit}`, "data-name": name, onchange: (event) => typed(index, name, event.target.value) }));
    }
    function typed(index, name, text) {
      const number = text.trim() === "" ? null : Number(text.replace(",", "."));
      if (number !== null && !Number.isFinite(number)) { say(`"${text}" is not a number.`); refresh(); return; }
      say("");
      const box = { ...editor.marks[index] }, duration = editor.data.duration;
      if (name === "start") box.t0 = clamp(number ?? 0, 0, duration);
      if (name === "end") box.t1 = clamp(number ?? duration, 0, duration);
      if (name === "low") box.r0 = number === null ? 0 : editor.rowOf(number);
      if (name === "high") box.r1 = number === null ? editor.rows : editor.rowOf(number);
      if (box.t1 <= box.t0 || box.r1 <= box.r0) { say("A box must end after it starts, and its upper hertz lie above the lower."); refresh(); return; }
      editor.replace(index, box);
    }
    function addBox() {
      const span = editor.to - editor.from;
      editor.set([...editor.marks, { kind: "box", t0: editor.from + 0.4 * span, t1: editor.from + 0.6 * span, r0: 0, r1: editor.rows }],
        editor.marks.length);
    }
    function boxFields() {
      const index = editor.selected;
      if (index < 0 || editor.marks[index]?.kind !== "box") {
        const hint = editor.marks.length ? `${editor.marks.length} marked` : "Drag a box or paint over what is to change";
        return [make("span", { class: "sp-hint" }, hint),
          make("button", { type: "button", class: "sp-link-button", onclick: addBox }, "Type a box")];
      }
      return [field(index, "start", "seconds", "Box"), field(index, "end", "seconds", "to"), make("span", {}, "s"),
        field(index, "low", "hertz", ""), field(index, "high", "hertz", "to"), make("span", {}, "Hz"),
        make("button", { type: "button", class: "sp-link-button", onclick: () => editor.remove(index) }, "Remove")];
    }

    function refresh() {
      const value = props.value ?? {};
      for (const [name, tool] of Object.entries(tools)) tool.setAttribute("aria-pressed", editor.tool === name);
      size.hidden = editor.tool === "box";
      clear.disabled = !editor.marks.length;
      undo.disabled = !editor.past.length && !value.undo;
      redo.disabled = !editor.future.length && !value.redo;
      if (!editor.data) return;
      const span = editor.to - editor.from, rest = editor.data.duration - span;
      pan.hidden = rest < 1e-6;
      pan.value = rest > 0 ? editor.from / rest * 1000 : 0;
      if (!boxes.contains(document.activeElement)) boxes.replaceChildren(...boxFields());
      else requestAnimationFrame(() => boxes.replaceChildren(...boxFields()));
    }

    let key = null;
    function render() {
      const { source } = props.value ?? {};
      root.classList.toggle("filled", Boolean(source));
      if (source && source.key !== key) {
        title.textContent = source.title;
        title.title = `${source.title} (${source.detail})`;
        note.textContent = source.note;
        editor.show(source);
      }
      // The server's last step is undone first, the marks before it not any more.
      editor.past = [];
      editor.future = [];
      key = source?.key ?? null;
      if (!source) { editor.audio.pause(); editor.data = null; editor.forget(); }
      say("");
      refresh();
    }

    for (const kind of ["dragenter", "dragover"]) root.addEventListener(kind, () => root.classList.add("over"));
    root.addEventListener("dragleave", () => root.classList.remove("over"));
    root.addEventListener("drop", (event) => {
      root.classList.remove("over");
      open(event.dataTransfer?.files?.[0]);
    });
    watch("value", render);
    render();
    window.Sonopaint.region = () => JSON.stringify(editor.region());
    window.Sonopaint.editorSays = say;
  };
})();
