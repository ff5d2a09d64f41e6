// A place to drop files or whole folders: uploads them one after the other, then tells the server their names.
(() => {
  const { make, icon } = window.Sonopaint;
  const MOST = 1000;

  async function walk(entry, prefix = "") {
    if (entry.isFile) {
      const file = await new Promise((done, failed) => entry.file(done, failed));
      return [{ file, name: prefix + file.name }];
    }
    const reader = entry.createReader(), found = [];
    for (;;) {
      const part = await new Promise((done, failed) => reader.readEntries(done, failed));
      if (!part.length) return found;
      for (const child of part) found.push(...await walk(child, `${prefix}${entry.name}/`));
    }
  }

  // value: {title, hint, single: one file and no folder, record: also from the microphone}; event 'files' {files: [{path, name}]}, names relative to what was dropped.
  window.Sonopaint.mountDropzone = (element, { props, trigger, upload }) => {
    const root = element.querySelector(".sp-dropzone");
    const { title, hint, single, record } = props.value;
    const state = make("p", { class: "sp-hint", role: "status" }, hint);

    async function send(list) {
      if (!list.length) return;
      if (list.length > MOST) { state.textContent = `${list.length} files are too many at once: at most ${MOST}.`; return; }
      const files = [];
      try {
        for (const { file, name } of list) {
          state.textContent = `Reading ${files.length + 1} of ${list.length}: ${file.name}`;
          const { path } = await upload(file);
          files.push({ path, name });
        }
        state.textContent = hint;
        trigger("files", { files });
      } catch (error) {
        state.textContent = `The files did not arrive: ${error.message}`;
      }
    }

    const chosen = (event) => {
      send([...event.target.files].map((file) => ({ file, name: file.webkitRelativePath || file.name })));
      event.target.value = "";
    };
    const files = make("input", { type: "file", multiple: !single, hidden: true, onchange: chosen });
    const folder = make("input", { type: "file", webkitdirectory: true, hidden: true, onchange: chosen });
    const button = (glyph, text, action, more = "") => make("button", { type: "button", class: `sp-button ${more}`, onclick: action }, icon(glyph), text);
    const say = (text) => { state.textContent = text || hint; };
    const taken = (file) => send([{ file, name: file.name }]);
    root.append(files, folder, make("strong", {}, title), state, make("div", {},
      button("open", single ? "Choose a file" : "Choose files", () => files.click()),
      ...(single ? [] : [button("open", "Choose a folder", () => folder.click())]),
      ...(record ? [button("record", "Record", window.Sonopaint.recorder({ root, say, taken }), "sp-record")] : [])));
    for (const kind of ["dragenter", "dragover"]) root.addEventListener(kind, () => root.classList.add("over"));
    root.addEventListener("dragleave", () => root.classList.remove("over"));
    root.addEventListener("drop", async (event) => {
      root.classList.remove("over");
      const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
      const found = [];
      for (const entry of entries) found.push(...await walk(entry));
      send(found);
    });
  };
})();
