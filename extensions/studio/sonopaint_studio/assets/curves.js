// The lanes of Generate, Edit and Variations: what is drawn goes with the next sound, and what that one measures is drawn
// over it.
(() => {
  const shown = {};  // by name, once they have been folded out
  window.Sonopaint.curves = (name = "curves") => shown[name]?.value ?? "";

  const { CurveLanes } = window.Sonopaint;

  // value: {asked, got, seconds, says}: lanes to show (JSON), what a result measures, the length. Event: none; the page
  // reads `window.Sonopaint.curves(name)` when a sound is made.
  window.Sonopaint.mountCurves = (name, element, { props, watch }) => {
    const root = element.querySelector(".sp-curves"), before = window.Sonopaint.curves(name);
    const lanes = new CurveLanes(root, () => {});
    const render = () => {
      const { asked, got, seconds, says } = props.value ?? {};
      if (seconds) lanes.lasts(seconds);
      if (asked != null) lanes.value = asked;
      if (got != null) lanes.show(got);
      if (says) lanes.say(says);
    };
    watch("value", render);
    render();
    if (before) lanes.value = before;
    shown[name] = lanes;
  };
})();
