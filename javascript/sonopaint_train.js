// The sub-tabs Train LoRA and Train subject: while one is seen, its hidden button is pressed every two seconds,
// so that the page follows the run. An answer that takes longer is waited for.
(() => {
  const EVERY = 2000, PATIENCE = 20000;
  const root = () => (typeof gradioApp === "function" ? gradioApp() : document);
  const asked = new Map();  // panel → { seen: the answer before, at: when it was asked for }

  setInterval(() => {
    if (document.hidden) return;
    for (const tick of root().querySelectorAll("[id^=sonopaint_train_][id$=_tick]")) {
      const panel = tick.id.slice(0, -"_tick".length);
      if (!root().querySelector(`#${panel}_start`)?.offsetParent) continue;
      const seen = root().querySelector(`#${panel}_seen textarea, #${panel}_seen input`)?.value, last = asked.get(panel);
      if (last && last.seen === seen && Date.now() - last.at < PATIENCE) continue;
      asked.set(panel, { seen, at: Date.now() });
      tick.click();
    }
  }, EVERY);
})();
