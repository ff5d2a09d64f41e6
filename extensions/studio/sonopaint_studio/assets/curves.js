// The lanes of Generate: what is drawn goes with the next sound, and what that one measures is drawn over it.
(() => {
  window.Sonopaint.curves = () => "";  // until the lanes are folded out for the first time

  const { CurveLanes } = window.Sonopaint;

  // value: {asked, got, seconds, says}: lanes to show (JSON), what a result measures, the length. Event: none; the page
  // reads `window.Sonopaint.curves()` when a sound is made.
  window.Sonopaint.mountCurves = (element, { props, watch }) => {
    const root = element.querySelector(".sp-curves");
    const lanes = new CurveLanes(root, () => {});
    window.Sonopaint.curves = () => lanes.value;
    const render = () => {
      const { asked, got, seconds, says } = props.value ?? {};
      if (seconds) lanes.lasts(seconds);
      if (asked != null) lanes.value = asked;
      if (got != null) lanes.show(got);
      if (says) lanes.say(says);
    };
    watch("value", render);
    render();
  };
})();
