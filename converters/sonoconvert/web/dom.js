// What the shared views are built with: elements, icons, clock times. A host adds `fileUrl(path)`, which gives the
// address of a picture or sound, and `colour(name)`, which gives its colours "quiet" and "strong-line".
window.Sonopaint = {
  ...window.Sonopaint,
  time(seconds) {
    const rest = Math.max(0, seconds), minutes = Math.floor(rest / 60);
    return `${minutes}:${(rest - 60 * minutes).toFixed(1).padStart(4, "0")}`;
  },
  make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value === true) element.setAttribute(name, "");
      else if (value !== false && value != null) element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  },
  icon(name) {
    const paths = {
      play: "M7 4.5v15l12-7.5z", pause: "M7 5h4v14H7zM13 5h4v14h-4z",
      undo: "M9 7V3L3 9l6 6v-4c5 0 8 2 9 6 1-6-2-10-9-10z",
      box: "M4 5h16v14H4zm2 2v10h12V7z",
      brush: "M20.7 3.3a1 1 0 0 0-1.4 0L10 12.6l1.4 1.4 9.3-9.3a1 1 0 0 0 0-1.4zM8.5 14A3.5 3.5 0 0 0 5 17.5c0 1.2-.8 2-2 2.5 1 .7 2.5 1 4 1a4 4 0 0 0 4.5-4z",
      eraser: "M15.5 4 21 9.500 12 18.500H20v2H7l-4-4zM5.800 16.500l2 2h1.400l2.900-2.900-3.500-3.500z",
      star: "M12 3l2.700 6 6.300.600-4.800 4.300 1.500 6.300L12 16.800 6.300 20.200l1.500-6.300L3 9.600 9.300 9z",
      clear: "M6 6l12 12M18 6 6 18", record: "M12 6a6 6 0 1 0 0 12 6 6 0 0 0 0-12z",
      open: "M3 6h6l2 2h10v11H3z", plus: "M11 5h2v6h6v2h-6v6h-2v-6H5v-2h6z", minus: "M5 11h14v2H5z",
      loop: "M7 7h9V4l5 4.500-5 4.500v-3H9v3l-2-1zM17 17H8v3l-5-4.500L8 11v3h7v-3l2 1z", fit: "M4 4h6v2H6v4H4zM20 20h-6v-2h4v-4h2z", up: "M12 4l7 7-1.500 1.500L13 8v12h-2V8l-4.500 4.500L5 11z", down: "M12 20l-7-7 1.500-1.500L11 16V4h2v12l4.500-4.500L19 13z", send: "M4 11h11l-4-4 1.500-1.500L19 12l-6.500 6.500L11 17l4-4H4z",
    };
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 24 24");
    svg.setAttribute("aria-hidden", "true");
    const path = document.createElementNS(svg.namespaceURI, "path");
    path.setAttribute("d", paths[name]);
    if (name === "clear") path.setAttribute("stroke", "currentColor"), path.setAttribute("stroke-width", "2");
    svg.append(path);
    return svg;
  },
};
