// The page "Sonopaint" and the players under txt2img's and img2img's galleries: turns what the server sends into
// spectrograms with players and into the region editor, keeps the marks where the server reads them, sends sounds on,
// and shows the host's progress bar.
(() => {
  const SCRIPTS = ["dom.js", "spectrogram.js", "region_editor.js", "curve_lanes.js"];
  const TO = [["inpaint", "Inpaint"], ["outpaint", "Outpaint"], ["loop", "Loop"], ["vary", "Variations"]];
  const TO_HOST = [["txt2img", "txt2img (settings)"], ["img2img", "img2img"]];
  const root = () => (typeof gradioApp === "function" ? gradioApp() : document);
  const views = new Map();  // mounted element → its views
  let widgets = null;

  const address = (path) => new URL(path, location.href.split(/[?#]/)[0]).href;
  const COLOURS = { quiet: "--body-text-color-subdued", "strong-line": "--border-color-primary" };
  const colour = (name) => getComputedStyle(document.body).getPropertyValue(COLOURS[name] ?? "").trim() || "#888";

  function script(name) {
    return new Promise((resolve, reject) => {
      const element = document.createElement("script");
      element.src = address(`sonopaint/script/${name}`);
      element.onload = resolve;
      element.onerror = () => reject(new Error(`${name} could not be loaded`));
      document.head.append(element);
    });
  }
  function load() {
    widgets ??= (async () => {
      window.Sonopaint = { ...window.Sonopaint, fileUrl: (path) => (path.startsWith("data:") ? path : address(path)), colour };
      for (const name of SCRIPTS) await script(name);
      return import(address("sonopaint/script/region_widget.js"));
    })();
    return widgets;
  }

  // Writes a hidden text field so that the server reads it.
  function write(id, text) {
    const area = root().querySelector(`#${id} textarea, #${id} input`);
    if (!area) return;
    area.value = text;
    area.dispatchEvent(new Event("input", { bubbles: true }));
  }

  // Views ---------------------------------------------------------------------------------------------
  // Space plays, left and right seek (with shift a little), home goes to the start, up and down to other cards.
  function keys(event, view) {
    const card = event.currentTarget;
    if (event.target !== card || event.ctrlKey || event.altKey || event.metaKey) return;
    const step = view.data.duration * (event.shiftKey ? 0.01 : 0.1), now = view.audio.currentTime;
    const go = (other) => other?.matches?.(".sonopaint-result") && other.focus();
    const does = { " ": () => view.toggle(), ArrowLeft: () => view.seek(now - step), ArrowRight: () => view.seek(now + step),
      Home: () => view.seek(0), ArrowUp: () => go(card.previousElementSibling), ArrowDown: () => go(card.nextElementSibling) }[event.key];
    if (!does) return;
    event.preventDefault();
    event.stopPropagation();
    does();
  }

  function cards(element, value) {
    const { make, SpectrogramView } = window.Sonopaint;
    const inTab = Boolean(element.closest("#tab_sonopaint"));
    const shown = value.map((data) => {
      const body = make("div", { class: "sonopaint-view" });
      const card = make("article", { class: "sonopaint-result", "data-key": data.key, tabindex: 0, "aria-label": `${data.title}, ${data.note}`,
        title: "Space plays, ← and → seek, ↑ and ↓ choose" },
        make("header", {}, make("strong", {}, data.title), make("span", { title: data.detail }, data.note)), body);
      element.append(card);
      const view = new SpectrogramView(body, `Spectrogram of ${data.title}`);
      card.addEventListener("keydown", (event) => keys(event, view));
      for (const [name, path] of Object.entries(data.downloads)) {
        view.player.append(make("a", { href: address(path), download: decodeURIComponent(path.split("/").pop()) }, name));
      }
      const to = inTab && "PNG" in data.downloads ? [...TO, ...TO_HOST] : TO;
      const menu = make("select", { "aria-label": "Send this sound to", onchange: () => {
        write("sonopaint_send", JSON.stringify({ to: menu.value, audio: data.audio, picture: data.downloads.PNG, at: Date.now() }));
        if (!inTab) window.switch_to_sonopaint();
        menu.value = "";
      } }, make("option", { value: "" }, "Send to …"), ...to.map(([to, title]) => make("option", { value: to }, title)));
      if (data.before) view.player.append(compared(view, data));
      view.player.append(menu);
      view.show(data);
      return view;
    });
    element.classList.add("mounted");
    return shown;
  }

  // A button that shows and plays the sound before the edit, from the same moment on.
  function compared(view, data) {
    const button = window.Sonopaint.make("button", { type: "button", class: "sonopaint-before", "aria-pressed": "false", onclick: () => {
      const before = button.getAttribute("aria-pressed") === "false", now = view.audio.currentTime, plays = !view.audio.paused;
      button.setAttribute("aria-pressed", String(before));
      view.show(before ? { ...data, ...data.before } : data);
      view.seek(now + (before ? -data.before.starts : data.before.starts));
      if (plays) view.toggle();
    } }, "Before");
    return button;
  }

  // The host calls these two when it has pasted; `sonopaintSent` presses its own hidden buttons.
  window.switch_to_sonopaint = () => {
    const tab = [...root().querySelectorAll("#tabs > .tab-nav button, #tabs [role=tab]")].find((one) => one.textContent.trim() === "Sonopaint");
    tab?.click();
    return [];
  };
  window.recalculate_prompts_sonopaint = () => [];
  window.sonopaintSent = (wanted) => {
    const to = JSON.parse(wanted || "{}").to;
    if (TO_HOST.some(([tab]) => tab === to)) root().querySelector(`#sonopaint_send_${to}`)?.click();
  };

  // Boxes of a pasted infotext; where no sound is shown yet, they wait for one.
  const waiting = {};
  function drawBoxes(panel) {
    const widget = [...views].find(([element]) => element.dataset.target === `${panel}_marks`)?.[1][0];
    if (!waiting[panel] || !widget?.view?.data) return;
    const view = widget.view, data = view.data;
    const marks = waiting[panel].map((box) => ({ kind: "box", t0: Math.min(box.start ?? 0, data.duration), t1: Math.min(box.end ?? data.duration, data.duration),
      r0: box.low == null ? 0 : view.rowOf(box.low), r1: box.high == null ? view.rows : view.rowOf(box.high) }));
    delete waiting[panel];
    view.set(marks.filter((box) => box.t1 > box.t0 && box.r1 > box.r0));
  }
  window.sonopaintBoxes = (panel, text) => {
    waiting[panel] = JSON.parse(text || "{}").boxes;
    drawBoxes(panel);
  };

  function source(element, data) {
    const { make, SpectrogramView } = window.Sonopaint;
    const body = make("div", { class: "sonopaint-view" });
    element.append(body);
    const view = new SpectrogramView(body, `Spectrogram of ${data.title}`);
    view.show(data);
    return [view];
  }

  function editor(element, data, { RegionWidget }) {
    const { make } = window.Sonopaint;
    const keep = () => {
      const kept = widget.value ? { ...JSON.parse(widget.value), format: data.format } : null;
      write(target, kept ? JSON.stringify({ boxes: kept.boxes, brush: kept.brush, format: kept.format }) : "");
    };
    const target = element.dataset.target, widget = new RegionWidget(() => keep(), "");
    const fields = Object.fromEntries([["start", "from s"], ["end", "to s"], ["low", "from Hz"], ["high", "to Hz"]].map(([name, text]) =>
      [name, make("input", { type: "number", step: "any", min: 0, placeholder: text, "aria-label": `Box ${text}`, "data-name": name })]));
    const add = make("button", { type: "button", class: "sonopaint-add", onclick: () => {
      const view = widget.view, number = (name, other) => (fields[name].value === "" ? other : Number(fields[name].value));
      const box = { kind: "box", t0: number("start", 0), t1: Math.min(number("end", data.duration), data.duration),
        r0: fields.low.value === "" ? 0 : view.rowOf(number("low")), r1: fields.high.value === "" ? view.rows : view.rowOf(number("high")) };
      const wrong = !(box.t1 > box.t0 && box.r1 > box.r0);
      widget.say(wrong ? `A box must end after it starts, inside ${data.duration.toFixed(2)} s, and its upper hertz lie above the lower.` : "");
      if (!wrong) view.set([...view.marks, box], view.marks.length);
    } }, "Add box");
    element.append(widget.root, make("div", { class: "sonopaint-box" }, ...Object.values(fields), add));
    widget.show(data);
    write(target, "");
    return [widget];
  }

  // Lanes to draw curves on; their JSON is what the sub-tab's run follows.
  function lanes(element, data) {
    const shown = new window.Sonopaint.CurveLanes(element, (json) => write(element.dataset.target, json), data.seconds);
    shown.value = data.asked;
    shown.show(data.got);
    return [shown];
  }

  async function mount(element) {
    views.set(element, []);
    const module = await load();
    const value = JSON.parse(element.dataset.value), kinds = { cards, source, editor, lanes };
    element.replaceChildren();
    views.set(element, kinds[element.dataset.sonopaint](element, value, module));
    if (element.dataset.target) drawBoxes(element.dataset.target.replace(/_marks$/, ""));
  }

  // Recording -----------------------------------------------------------------------------------------
  // 16-bit WAV of what the browser decoded.
  function wav(sound) {
    const channels = sound.numberOfChannels, count = sound.length, data = new DataView(new ArrayBuffer(44 + count * channels * 2));
    const text = (at, word) => [...word].forEach((letter, i) => data.setUint8(at + i, letter.charCodeAt(0)));
    text(0, "RIFF"); data.setUint32(4, 36 + count * channels * 2, true); text(8, "WAVEfmt ");
    data.setUint32(16, 16, true); data.setUint16(20, 1, true); data.setUint16(22, channels, true);
    data.setUint32(24, sound.sampleRate, true); data.setUint32(28, sound.sampleRate * channels * 2, true);
    data.setUint16(32, channels * 2, true); data.setUint16(34, 16, true); text(36, "data"); data.setUint32(40, count * channels * 2, true);
    for (let c = 0; c < channels; c++) {
      const samples = sound.getChannelData(c);
      for (let i = 0; i < count; i++) {
        data.setInt16(44 + (i * channels + c) * 2, Math.round(Math.min(Math.max(samples[i], -1), 1) * 32767), true);
      }
    }
    return new Blob([data], { type: "audio/wav" });
  }

  function recorder(target) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sonopaint-record";
    button.textContent = "Record";
    let running = null;
    button.onclick = async () => {
      if (running) { running.stop(); return; }
      try {
        const stream = await navigator.mediaDevices.getUserMedia({
          audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false } });
        const parts = [];
        running = new MediaRecorder(stream);
        running.ondataavailable = (event) => parts.push(event.data);
        running.onstop = async () => {
          running = null;
          button.textContent = "Record";
          stream.getTracks().forEach((track) => track.stop());
          const context = new AudioContext();
          const sound = await context.decodeAudioData(await new Blob(parts).arrayBuffer());
          context.close();
          const reader = new FileReader();
          reader.onload = () => write(target, reader.result);
          reader.readAsDataURL(wav(sound));
        };
        running.start();
        button.textContent = "Stop recording";
      } catch {
        running = null;
        button.textContent = "The microphone can't be used: allow it in the address bar";
      }
    };
    return button;
  }

  // The page ------------------------------------------------------------------------------------------
  const newTask = () => `task(sonopaint-${Math.random().toString(36).slice(2, 12)})`;

  function started(panel) {
    const id = root().querySelector(`#${panel}_task textarea, #${panel}_task input`)?.value;
    const place = root().querySelector(`#${panel}_made`);
    setTimeout(() => write(`${panel}_task`, newTask()), 1500);  // Gradio reads the old one first
    if (!id || !place || typeof requestProgress !== "function") return;
    requestProgress(id, place, null, () => {});
    place.previousElementSibling?.scrollIntoView({ block: "nearest" });
  }

  function furnish(go) {
    const panel = go.id.slice(0, -"_go".length);
    if (!root().querySelector(`#${panel}_task`)) return;
    write(`${panel}_task`, newTask());
    go.addEventListener("click", () => started(panel));
    const place = root().querySelector(`#${panel}_source`);
    if (place && root().querySelector(`#${panel}_recorded`)) place.before(recorder(`${panel}_recorded`));
    root().querySelector(`#${panel}_curves_file`)?.before(recorder(`${panel}_sung`));
  }

  function scan() {
    for (const [element, shown] of views) {
      if (element.isConnected) continue;
      views.delete(element);
      for (const view of shown) view.destroy();
    }
    for (const element of root().querySelectorAll("[data-sonopaint]")) if (!views.has(element)) mount(element);
    for (const go of root().querySelectorAll("[id^=sonopaint_][id$=_go]:not([data-furnished])")) {
      go.dataset.furnished = "1";
      furnish(go);
    }
  }

  // The chosen checkpoint: what the top of the tab says of it is asked for anew where it is another one.
  let checkpoint = null;
  function follow() {
    const chosen = root().querySelector("#setting_sd_model_checkpoint input")?.value ?? "";
    if (document.hidden || chosen === checkpoint || !root().querySelector("#sonopaint_tabs")?.offsetParent) return;
    checkpoint = chosen;
    setTimeout(() => root().querySelector("#sonopaint_model_look")?.click(), 500);  // the host hears of it first
  }
  window.sonopaintChoose = (title) => { if (title && typeof selectCheckpoint === "function") selectCheckpoint(title); };

  // Ctrl+Enter presses the visible sub-tab's button, as in txt2img.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || !event.target.closest?.("#tab_sonopaint")) return;
    const go = [...root().querySelectorAll("#tab_sonopaint [id^=sonopaint_][id$=_go]")].find((one) => one.offsetParent);
    if (go) { event.preventDefault(); go.click(); }
  }, true);

  if (typeof onAfterUiUpdate === "function") onAfterUiUpdate(scan);
  if (typeof onUiLoaded === "function") onUiLoaded(() => { scan(); setInterval(follow, 1000); });
})();
