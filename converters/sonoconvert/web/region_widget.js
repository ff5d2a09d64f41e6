// Views that a host's page gives a place and whose value it keeps: a module, loaded after the other scripts.

// Keys and wheel turns that are meant for the picture must not reach the graph around it.
function keepInside(root) {
  for (const kind of ["keydown", "keyup"]) root.addEventListener(kind, (event) => event.stopPropagation());
  for (const kind of ["pointerdown", "pointermove", "mousedown", "contextmenu", "dblclick"]) {
    root.addEventListener(kind, (event) => event.stopPropagation());
  }
}

// A spectrogram with a player.
export class LookWidget {
  constructor(hint = "Run the workflow to see and hear the sound here.") {
    const { make, SpectrogramView } = window.Sonopaint;
    this.notice = make("p", { class: "sonopaint-hint", role: "status" }, hint);
    const host = make("div", { class: "sonopaint-view" });
    this.root = make("div", { class: "sonopaint-widget" }, host, this.notice);
    this.view = this.makeView(host, SpectrogramView);
    keepInside(this.root);
  }
  makeView(host, View) { return new View(host, "Spectrogram"); }
  get value() { return ""; }
  set value(_) { /* nothing to keep */ }
  // view: {view, audio, duration, edges} as the server gives it.
  show(view) {
    this.root.classList.add("filled");
    this.say("");
    this.view.show(view);
  }
  say(text) {
    this.notice.textContent = text;
    this.notice.hidden = !text;
  }
  destroy() { this.view.destroy(); }
}

// The region editor. Its value is the JSON that the server reads: {boxes, brush}, and the marks to go on with.
export class RegionWidget extends LookWidget {
  constructor(changed, hint = "Connect a sound, then run the workflow once: its spectrogram appears here to draw on.") {
    super(hint);
    const { make, icon } = window.Sonopaint;
    this.tell = changed;
    const editor = this.view;
    const button = (name, title, action) => make("button", { type: "button", class: "sonopaint-tool", title,
      "aria-label": title, onclick: action }, icon(name));
    this.tools = Object.fromEntries([["box", "Box: drag over what to repaint"], ["brush", "Brush: paint over what to repaint"],
      ["eraser", "Eraser: take away from what is marked"]].map(([name, hint]) =>
      [name, button(name, hint, () => { editor.tool = name; this.refresh(); })]));
    this.size = make("input", { type: "range", min: 6, max: 90, value: 28, title: "Brush size", "aria-label": "Brush size",
      oninput: () => { editor.size = Number(this.size.value); } });
    // A button that has nothing more to do loses the focus; the picture takes it, so that Ctrl+Z stays here.
    const stay = (action) => () => { action(); editor.frame.focus({ preventScroll: true }); };
    this.undo = button("undo", "Undo (Ctrl+Z)", stay(() => editor.undo()));
    this.clear = button("clear", "Clear the marks", stay(() => editor.clear()));
    this.text = make("span", { class: "sonopaint-marks" });
    this.root.prepend(make("div", { class: "sonopaint-bar" }, ...Object.values(this.tools), this.size, this.undo, this.clear,
      button("minus", "Zoom out (Ctrl+wheel)", () => editor.zoom(1.6)), button("plus", "Zoom in (Ctrl+wheel)", () => editor.zoom(0.625)),
      this.text));
    this.root.addEventListener("keydown", (event) => {
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") {
        event.preventDefault();
        if (event.shiftKey) editor.redo(); else editor.undo();
      }
    });
    this.refresh();
  }

  makeView(host) { return new window.Sonopaint.RegionEditor(host, "Spectrogram to draw a region on", () => this.changed()); }

  get value() { return this.kept ?? ""; }
  set value(text) {
    this.kept = text || "";
    this.restore();
  }

  show(view) {
    this.restoring = true;  // the editor forgets its marks when another sound is shown
    super.show(view);
    this.restoring = false;
    this.restore();
  }

  // The kept marks on the picture that is shown; rows are counted anew where the format has others.
  restore() {
    if (!this.view.data) return;
    let kept = {};
    try { kept = JSON.parse(this.kept || "{}"); } catch { /* damaged: start anew */ }
    const scale = this.view.rows / (kept.rows ?? this.view.rows);
    const scaled = (mark) => mark.kind === "box" ? { ...mark, r0: mark.r0 * scale, r1: mark.r1 * scale }
      : { ...mark, radiusR: mark.radiusR * scale, points: mark.points.map(([t, r]) => [t, r * scale]) };
    this.restoring = true;
    this.view.set((kept.marks ?? []).map(scaled), -1, { keep: false });
    this.restoring = false;
    this.refresh();
  }

  // The boxes typed beside the picture: shown on it, but changed where they were typed.
  set typed(text) {
    const number = (part) => (part.trim() === "" ? null : Number(part));
    this.view.typed = text.split(/[\n;]/).map((line) => line.split(",").map((part) => part.split(":")))
      .filter((parts) => parts.length <= 2 && parts.every((part) => part.length === 2))
      .map(([[start, end], [low, high] = ["", ""]]) => ({ start: number(start), end: number(end), low: number(low), high: number(high) }))
      .filter((box) => Object.values(box).every((value) => !Number.isNaN(value)));
    if (this.view.data) this.view.draw();
  }

  changed() {
    if (!this.tools) return;
    if (!this.restoring && this.view.data) {
      const { marks, rows } = this.view;
      this.kept = marks.length ? JSON.stringify({ ...this.view.region(), marks, rows }) : "";
      this.tell();
    }
    this.refresh();
  }

  refresh() {
    const editor = this.view;
    for (const [name, tool] of Object.entries(this.tools)) tool.setAttribute("aria-pressed", editor.tool === name);
    this.size.hidden = editor.tool === "box";
    this.undo.disabled = !editor.past.length;
    this.clear.disabled = !editor.marks.length;
    const box = editor.marks[editor.selected];
    if (editor.data && box?.kind === "box") {
      const { start, end, low, high } = editor.inUnits(box);
      const hertz = (hz, edge) => (hz == null ? edge : `${Math.round(hz)}`);
      this.text.textContent = `${start.toFixed(2)} – ${end.toFixed(2)} s, ${hertz(low, "lowest")} – ${hertz(high, "highest")} Hz`;
    } else {
      this.text.textContent = editor.marks.length ? `${editor.marks.length} marked` : "";
    }
  }
}

// Lanes for curves. Its value is the JSON that the server reads: {rate, values}.
export class LanesWidget {
  constructor(changed) {
    const { make, CurveLanes } = window.Sonopaint;
    this.root = make("div", { class: "sonopaint-widget filled" });
    this.lanes = new CurveLanes(this.root, changed);
    keepInside(this.root);
  }
  get value() { return this.lanes.value; }
  set value(text) { this.lanes.value = text || ""; }
  lasts(seconds) { this.lanes.lasts(seconds); }
  show() { /* it has no sound */ }
  say(text) { this.lanes.say(text); }
  destroy() { this.lanes.destroy(); }
}
