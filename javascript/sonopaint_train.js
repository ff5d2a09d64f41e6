// The sub-tabs Train LoRA and Train subject: their hidden button is pressed when one comes into sight, and every two
// seconds while a run or an installation goes on. An answer that takes longer is waited for.
(() => {
  const EVERY = 2000, PATIENCE = 20000;
  const root = () => (typeof gradioApp === "function" ? gradioApp() : document);
  const asked = new Map();  // panel → { seen: the answer before, at: when it was asked for }

  function due(panel) {
    const start = root().querySelector(`#${panel}_start`);
    if (!start?.offsetParent) { asked.delete(panel); return false; }
    // An update of the page during an upload makes Gradio 3.41 lose the files.
    if (root().querySelector(`#${panel}_sounds`)?.innerText.includes("Uploading")) return false;
    const seen = root().querySelector(`#${panel}_seen textarea, #${panel}_seen input`)?.value ?? "", last = asked.get(panel);
    if (last && last.seen === seen && Date.now() - last.at < PATIENCE) return false;
    if (last && last.seen !== seen && !JSON.parse(seen).again) return false;
    asked.set(panel, { seen, at: Date.now() });
    return true;
  }

  setInterval(() => {
    if (document.hidden) return;
    for (const tick of root().querySelectorAll("[id^=sonopaint_train_][id$=_tick]")) {
      if (due(tick.id.slice(0, -"_tick".length))) tick.click();
    }
  }, EVERY);
})();
