// The scripts that all of Sonopaint's pages draw with. They are plain scripts that build on window.Sonopaint, so
// they are loaded one after the other.
const SCRIPTS = ["dom.js", "spectrogram.js", "region_editor.js", "curve_lanes.js"];
let loading = null;

const COLOURS = { quiet: ["--descrip-text", "#999"], "strong-line": ["--border-color", "#555"] };

function colour(name) {
  const [variable, otherwise] = COLOURS[name] ?? ["", "#888"];
  return getComputedStyle(document.body).getPropertyValue(variable).trim() || otherwise;
}

function load(address) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = address;
    script.onload = resolve;
    script.onerror = () => reject(new Error(`${address} could not be loaded`));
    document.head.append(script);
  });
}

// base: where the scripts lie; fileUrl: the address of a picture or sound as the server names it.
export function loadShared(base, fileUrl) {
  loading ??= (async () => {
    window.Sonopaint = { ...window.Sonopaint, fileUrl, colour };
    for (const name of SCRIPTS) await load(base + name);
    const style = document.createElement("link");
    style.rel = "stylesheet";
    style.href = new URL("./widgets.css", import.meta.url).href;
    document.head.append(style);
  })();
  return loading;
}
