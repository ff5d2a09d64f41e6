// Links that save a sound, and that can be dragged out to the desktop or into another program.
(() => {
  const { make, fileUrl } = window.Sonopaint;
  const TYPES = { wav: "audio/wav", flac: "audio/flac", ogg: "audio/ogg", mp3: "audio/mpeg", png: "image/png" };
  const nameOf = (path) => path.split(/[\\/]/).pop();

  const saveUrl = (path, kind) => {
    const query = new URLSearchParams({ path, as: kind });
    return new URL(`sonopaint/save?${query}`, location.href.split(/[?#]/)[0]).href;
  };

  // Chromium makes a file of what is dropped outside of it; other browsers drop the address.
  function draggable(element, url, name) {
    element.draggable = true;
    element.addEventListener("dragstart", (event) => {
      const type = TYPES[name.split(".").pop().toLowerCase()] ?? "application/octet-stream";
      event.dataTransfer.setData("DownloadURL", `${type}:${name}:${url}`);
      event.dataTransfer.setData("text/uri-list", url);
      event.dataTransfer.effectAllowed = "copy";
    });
    return element;
  }

  // data: {audio, downloads: {WAV: path, …}} → links; what isn't there yet is written when it is asked for.
  function saveLinks({ audio, downloads }) {
    const found = Object.entries(downloads ?? {}).map(([kind, path]) => [kind, fileUrl(path), nameOf(path)]);
    const stem = nameOf(audio).replace(/\.[^.]*$/, "");
    for (const kind of ["MP3"]) {
      if (!downloads?.[kind]) found.push([kind, saveUrl(audio, kind.toLowerCase()), `${stem}.${kind.toLowerCase()}`]);
    }
    return found.map(([kind, url, name]) => draggable(make("a", { href: url, download: name, class: "sp-link",
      title: `Save as ${kind}, or drag it out` }, kind), url, name));
  }

  Object.assign(window.Sonopaint, { saveLinks, draggable, nameOf });
})();
