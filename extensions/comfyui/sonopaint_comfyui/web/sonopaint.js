// Sonopaint's widgets: a spectrogram to look at and listen to, the region editor, and workflows out of WAV files.
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { loadShared } from "./widgets/shared.js";
import { MOST_ROWS, ROW, soundsWidget } from "./widgets/sounds.js";
import { workflowOfWav } from "./widgets/wav.js";

let LanesWidget, LookWidget, RegionWidget, SoundsWidget;
const address = (place) => {
  if (typeof place === "string") return place.startsWith("/") ? api.apiURL(place) : place;
  return api.apiURL("/view?" + new URLSearchParams(place));
};

// Where the sound of a node's audio socket comes from, if that can be known without running: a request for it.
function upstream(node) {
  const slot = node.inputs?.findIndex((input) => input.name === "audio") ?? -1;
  const source = slot < 0 ? null : node.getInputNode?.(slot);
  const chosen = (name) => source.widgets?.find((widget) => widget.name === name)?.value;
  if (source?.comfyClass === "SonopaintExampleSound") {
    return { example: chosen("sound"), audio: `/sonopaint/example/${encodeURIComponent(chosen("sound"))}` };
  }
  if (source?.comfyClass === "SonopaintLoadAudio" || source?.comfyClass === "LoadAudio") {
    const whole = !chosen("start") && !chosen("duration");
    const file = chosen("audio");
    if (!file || !whole) return null;
    const place = file.match(/^(?:(.*)\/)?([^/]*?)(?: \[(\w+)\])?$/);
    return { file, audio: { filename: place[2], subfolder: place[1] ?? "", type: place[3] ?? "input" } };
  }
  return null;
}

const keyOf = (wanted) => (wanted ? JSON.stringify(wanted) : null);

async function preview(node, widget) {
  const wanted = upstream(node);
  if (!wanted || keyOf(wanted) === widget.previewed) return;
  widget.previewed = keyOf(wanted);
  const query = wanted.example ? { example: wanted.example } : { file: wanted.file };
  const answer = await api.fetchApi("/sonopaint/view?" + new URLSearchParams(query));
  const view = await answer.json();
  if (view.error) widget.say(view.error);
  else widget.show({ ...view, audio: wanted.audio });
}

// A widget of ours in a node of ComfyUI's page: filled when the node has run, or from the file before it has.
function install(node, name, Kind, options) {
  const widget = new Kind(options.changed ?? (() => {}));
  const dom = node.addDOMWidget(name, "sonopaint", widget.root, {
    getValue: () => widget.value,
    setValue: (value) => { widget.value = value; },
    getMinHeight: () => options.height,
    hideOnZoom: false,
    serialize: options.serialize,
  });
  dom.serialize = options.serialize;
  const refresh = () => !widget.showAll && preview(node, widget).catch((error) => console.warn("Sonopaint:", error));
  const chain = (key, then) => {
    const before = node[key];
    node[key] = function (...values) {
      const result = before?.apply(this, values);
      then(...values);
      return result;
    };
  };
  chain("onExecuted", (message) => {
    const views = message?.sonopaint ?? [];
    if (!views.length) return;
    if (widget.showAll) {
      widget.showAll(views);
      const room = options.height + (Math.min(views.length, MOST_ROWS) - 1) * ROW;
      if (node.size[1] < room) node.setSize([node.size[0], room]);
    } else {
      widget.previewed = keyOf(upstream(node));
      widget.show(views[0]);
    }
  });
  chain("onConnectionsChange", () => setTimeout(refresh));
  chain("onConfigure", () => setTimeout(refresh, 300));
  chain("onRemoved", () => widget.destroy());
  widget.root.addEventListener("pointerenter", refresh);
  const typed = node.widgets?.find((other) => other.name === "boxes");
  if (typed && "typed" in Object.getOwnPropertyDescriptors(Kind.prototype)) {
    const show = () => { widget.typed = typed.value ?? ""; };
    const before = typed.callback;
    typed.callback = function (...values) {
      const result = before?.apply(this, values);
      show();
      return result;
    };
    chain("onConfigure", () => setTimeout(show));
    show();
  }
  const length = node.widgets?.find((other) => other.name === "seconds");
  if (length && widget.lasts) {
    const before = length.callback;
    length.callback = function (...values) {
      widget.lasts(length.value);
      return before?.apply(this, values);
    };
    chain("onConfigure", () => setTimeout(() => widget.lasts(length.value)));
  }
  const [width, height] = node.size;
  node.setSize([Math.max(width, options.width), Math.max(height, node.computeSize()[1])]);
  return dom;
}

// A WAV has no place where ComfyUI looks for a workflow; Sonopaint writes it into the comment.
function openWorkflowsOfWavs() {
  const original = app.handleFile?.bind(app);
  if (!original) return;
  app.handleFile = async (file, ...rest) => {
    const found = /\.wav$/i.test(file?.name ?? "") ? await workflowOfWav(file) : null;
    if (found?.workflow) return app.loadGraphData(found.workflow, true, true, file.name.replace(/\.wav$/i, ""));
    if (found?.prompt) return app.loadApiJson(found.prompt, file.name);
    return original(file, ...rest);
  };
}

app.registerExtension({
  name: "Sonopaint.Widgets",
  async init() {
    await loadShared(api.apiURL("/sonopaint/script/"), address);
    ({ LanesWidget, LookWidget, RegionWidget } = await import(api.apiURL("/sonopaint/script/region_widget.js")));
    SoundsWidget = soundsWidget(LookWidget);
  },
  setup: openWorkflowsOfWavs,
  getCustomWidgets() {
    return {
      SONOPAINT_DRAWING(node, name) {
        const changed = () => node.graph?.setDirtyCanvas?.(true, true);
        return { widget: install(node, name, RegionWidget, { height: 300, width: 460, serialize: true, changed }) };
      },
      SONOPAINT_LANES(node, name) {
        const changed = () => node.graph?.setDirtyCanvas?.(true, true);
        return { widget: install(node, name, LanesWidget, { height: 350, width: 460, serialize: true, changed }) };
      },
      SONOPAINT_SOUNDS(node, name) {
        return { widget: install(node, name, SoundsWidget, { height: 240, width: 380, serialize: false }) };
      },
    };
  },
  beforeRegisterNodeDef(nodeType, nodeData) {
    const inputs = nodeData.input?.required;
    if (nodeData.name === "SonopaintAudioToSpectrogram") inputs.look = ["SONOPAINT_SOUNDS", {}];
    if (nodeData.name === "SonopaintSaveAudio") inputs.audioUI = ["SONOPAINT_SOUNDS", {}];
    if (nodeData.name === "SonopaintPreviewAudio") inputs.look = ["SONOPAINT_SOUNDS", {}];
  },
});
