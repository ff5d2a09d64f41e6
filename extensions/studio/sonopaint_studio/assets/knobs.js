// The knobs of a synthesiser: sliders with units, and a mark where the match is. What is turned is heard at once.
(() => {
  const { make, fileUrl } = window.Sonopaint;

  const valueAt = ({ low, high, log }, place) => (log ? low * (high / low) ** place : low + (high - low) * place);
  const written = (value) => (Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3).replace(/\.?0+$/, ""));

  // value: {knobs: [{name, unit, low, high, log, says, place, mark}], audio: path of the sound as they stand};
  // event: turned {name, place}, places 0 … 1.
  window.Sonopaint.mountKnobs = (element, { props, trigger, watch }) => {
    const root = element.querySelector(".sp-knobs");
    const player = new Audio();
    let names = "", rows = new Map(), heard = null, asked = 0;

    function row(knob) {
      const said = make("output", {});
      const slider = make("input", { type: "range", min: 0, max: 1, step: 0.002, title: knob.says,
        "aria-label": knob.name,
        oninput: () => tell(knob, slider, said),
        onchange: () => { asked = performance.now(); trigger("turned", { name: knob.name, place: Number(slider.value) }); } });
      const mark = make("i", { class: "sp-mark", title: "Where the match is" });
      mark.style.left = `calc(8px + (100% - 16px) * ${knob.mark})`;
      const label = make("label", { title: knob.says }, make("span", {}, knob.name), said,
        make("span", { class: "sp-track" }, slider, mark));
      return { label, slider, said, knob };
    }
    function tell(knob, slider, said) {
      const text = `${written(valueAt(knob, Number(slider.value)))} ${knob.unit}`.trim();
      said.textContent = text;
      slider.setAttribute("aria-valuetext", text);
    }

    function render() {
      const { knobs = [], audio = null } = props.value ?? {};
      const now = JSON.stringify(knobs.map(({ name, low, mark }) => [name, low, mark]));
      if (now !== names) {
        names = now;
        rows = new Map(knobs.map((knob) => [knob.name, row(knob)]));
        root.replaceChildren(...[...rows.values()].map(({ label }) => label));
      }
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

  // Space on this page: the original and the match in turn.
  document.addEventListener("keydown", (event) => {
    const bar = document.querySelector("#match-cards .sp-compare");
    if (event.key !== " " || !bar?.offsetParent || /^(TEXTAREA|SELECT|BUTTON)$/.test(event.target.tagName)) return;
    if (event.target.tagName === "INPUT" && event.target.type !== "range") return;
    event.preventDefault();
    const [play, ...choices] = bar.querySelectorAll("button");
    if (play.getAttribute("aria-label") === "Compare") play.click();
    else (choices[0].getAttribute("aria-pressed") === "true" ? choices[1] : choices[0]).click();
  });
})();
