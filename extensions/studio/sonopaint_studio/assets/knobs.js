// The knobs of a synthesiser: sliders with units, and a mark where the match is. What is turned is heard at once.
(() => {
  const { make, icon, fileUrl } = window.Sonopaint;

  const valueAt = ({ low, high, log }, place) => (log ? low * (high / low) ** place : low + (high - low) * place);
  const written = (value) => (Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3).replace(/\.?0+$/, ""));

  const KEYS = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 4, PageDown: -4 };
  let ids = 0;

  // value: {knobs: [{name, unit, low, high, log, says, place, mark, step}], audio: path of the sound as they stand};
  // event: turned {places: {name: 0 … 1}, turn}; an answer to an earlier turn (value.turn) is not shown.
  // A step by key or button sounds as large on every knob.
  window.Sonopaint.mountKnobs = (element, { props, trigger, watch }) => {
    const root = element.querySelector(".sp-knobs");
    const player = new Audio();
    let names = "", rows = new Map(), heard = null, asked = 0, turn = 0;

    function row(knob) {
      const id = `sp-knob-${ids++}`;
      const said = make("output", { for: id });
      const turned = () => {
        tell(knob, slider, said);
        asked = performance.now();
        const places = Object.fromEntries([...rows].map(([name, { slider: one }]) => [name, Number(one.value)]));
        turn = Math.max(turn + 1, Date.now());  // later than any before the page was loaded, too
        trigger("turned", { places, turn });
      };
      const stepped = (count) => {
        slider.value = Number(slider.value) + count * knob.step;
        turned();
      };
      const slider = make("input", { type: "range", id, min: 0, max: 1, step: "any", title: knob.says,
        oninput: () => tell(knob, slider, said), onchange: turned,
        onkeydown: (event) => {
          if (!(event.key in KEYS) || event.ctrlKey || event.metaKey || event.altKey) return;
          event.preventDefault();
          stepped(KEYS[event.key]);
        } });
      const button = (sign, count, way) => make("button", { type: "button", class: "sp-step",
        "aria-label": `${knob.name}: a step ${way}`, title: "A step: it sounds as large on every knob",
        onclick: () => stepped(count) }, icon(sign));
      const mark = make("i", { class: "sp-mark", title: "Where the match is" });
      mark.style.left = `calc(8px + (100% - 16px) * ${knob.mark})`;
      const whole = make("div", { class: "sp-knob" },
        make("label", { for: id, title: knob.says }, knob.name), said,
        button("minus", -1, "down"), make("span", { class: "sp-track" }, slider, mark), button("plus", 1, "up"));
      return { whole, slider, said, knob };
    }
    function tell(knob, slider, said) {
      const text = `${written(valueAt(knob, Number(slider.value)))} ${knob.unit}`.trim();
      said.textContent = text;
      slider.setAttribute("aria-valuetext", text);
    }

    function render() {
      const { knobs = [], audio = null, turn: answered = 0 } = props.value ?? {};
      const now = JSON.stringify(knobs.map(({ name, low, mark }) => [name, low, mark]));
      if (now !== names) {
        names = now;
        rows = new Map(knobs.map((knob) => [knob.name, row(knob)]));
        root.replaceChildren(...[...rows.values()].map(({ whole }) => whole));
      }
      if (answered && answered < turn) return;
      turn = Math.max(turn, answered);
      for (const knob of knobs) {
        const { slider, said } = rows.get(knob.name);
        if (document.activeElement !== slider || !slider.matches(":active")) slider.value = knob.place;
        tell(knob, slider, said);
      }
      if (audio && audio !== heard) {
        if (heard && asked) {  // turned here: it is heard at once
          root.dataset.ms = Math.round(performance.now() - asked);
          window.Sonopaint.comparison?.stop();
          player.src = fileUrl(audio);
          player.play().catch(() => {});
          asked = 0;
        }
        heard = audio;
      }
    }
    window.addEventListener("sonopaint-play", () => player.pause());
    watch("value", render);
    render();
  };

  // Space on this page: the original and the match in turn, also after a button was pressed with the pointer; where
  // one was reached by keys, it presses that.
  let pointed = false;
  document.addEventListener("pointerdown", () => { pointed = true; }, true);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Tab") pointed = false;
    const bar = document.querySelector("#match-cards .sp-compare");
    if (event.key !== " " || !bar?.offsetParent || /^(TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
    if (event.target.tagName === "BUTTON") {
      if (!pointed) return;
      event.target.blur();
    }
    if (event.target.tagName === "INPUT" && event.target.type !== "range") return;
    event.preventDefault();
    const [play, ...choices] = bar.querySelectorAll("button");
    if (play.getAttribute("aria-label") === "Compare") play.click();
    else (choices[0].getAttribute("aria-pressed") === "true" ? choices[1] : choices[0]).click();
  });
})();
