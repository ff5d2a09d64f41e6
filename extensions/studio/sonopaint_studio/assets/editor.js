// Edit's canvas: the shared region editor with Studio's tools around it, opening and recording sounds.
(() => {
  const { make, icon, saveLinks, RegionEditor } = window.Sonopaint;
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  // value: {source: null | view data, undo: bool, redo: bool, takes: keys}; events: 'opened' {path, name},
  // 'demo' {key}, 'undo', 'redo'.
  window.Sonopaint.mountEditor = (element, { props, trigger, watch, upload }) => {
    const root = element.querySelector(".sp-editor");
    const button = (name, title, action) => make("button", { type: "button", class: "sp-tool", title,
      "aria-label": title, onclick: action }, icon(name));
    const picker = make("input", { type: "file", accept: "audio/*,video/*,image/png,.wav,.flac,.ogg,.mp3,.m4a,.webm,.mp4,.png", hidden: true,
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
        say(`${file.name} did not arrive: ${error.message}`);
      }
    }

    const record = window.Sonopaint.recorder({ root, say, taken: open });

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
    const axis = make("select", { class: "sp-select", "aria-label": "Axis of frequencies", title: "Axis of frequencies",
      onchange: () => window.Sonopaint.setAxis(axis.value) },
      ...["mel", "log", "linear"].map((name) => make("option", { value: name }, name)));
    const links = make("span", { class: "sp-links" });
    const bar = make("div", { class: "sp-toolbar" },
      make("span", { class: "sp-source" }, title, note),
      make("span", { class: "sp-group" }, ...Object.values(tools), size, clear),
      make("span", { class: "sp-group" }, undo, redo),
      make("span", { class: "sp-group" }, button("minus", "Zoom out (Ctrl+wheel)", () => editor.zoom(1.6)),
        button("plus", "Zoom in (Ctrl+wheel)", () => editor.zoom(0.625)), button("fit", "Whole sound", () => editor.zoom(1e9)), axis),
      make("span", { class: "sp-group" }, make("button", { type: "button", class: "sp-button", onclick: () => picker.click() }, icon("open"), "Open"),
        recordButton));
    const host = make("div", { class: "sg sg-tall" });
    const pan = make("input", { type: "range", class: "sp-pan", "aria-label": "Scroll along the sound", min: 0, max: 1000,
      oninput: () => editor.window(pan.value / 1000 * (editor.data.duration - (editor.to - editor.from))) });
    const boxes = make("div", { class: "sp-boxes" });
    const drop = make("div", { class: "sp-drop" },
      make("p", {}, make("strong", {}, "Drop a sound here"), make("br"), "WAV, FLAC, OGG, MP3, M4A, WebM, MP4, or the picture (PNG) of a sound"),
      make("div", {}, make("button", { type: "button", class: "sp-button", onclick: () => picker.click() }, icon("open"), "Open a file"),
        make("button", { type: "button", class: "sp-button sp-record", onclick: record }, icon("record"), "Record")),
      make("div", { class: "sp-begin" }, "or begin with", ...(props.value?.demos ?? []).map(({ key, prompt }) => make("button", { type: "button",
        class: "sp-chip", onclick: () => trigger("demo", { key }) }, prompt))));
    const work = make("div", { class: "sp-work" }, bar, host);
    root.append(picker, drop, work, notice);
    const editor = window.Sonopaint.editor = new RegionEditor(host, "Spectrogram of the sound to edit", () => refresh(), { tools: true });
    editor.player.append(boxes, links);
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
        links.replaceChildren("Save", ...saveLinks(source));
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
    // Boxes of whole height, as JSON in seconds: what was found in the sound.
    window.Sonopaint.mark = (text) => {
      const found = JSON.parse(text || "[]");
      if (!found.length || !editor.data) return;
      editor.set(found.map(({ start, end }) => ({ kind: "box", t0: start, t1: end, r0: 0, r1: editor.rows })));
    };
    window.Sonopaint.editorSays = say;
  };
})();
