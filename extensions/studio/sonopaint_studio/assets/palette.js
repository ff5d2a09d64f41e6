// What a model knows: tiles with a picture and a sound each. And tips, which stay away once they were closed.
(() => {
  const { make, icon, fileUrl, coloured } = window.Sonopaint;
  const audio = new Audio();
  let playing = null;
  const stop = () => { audio.pause(); playing?.classList.remove("playing"); playing = null; };
  audio.addEventListener("ended", stop);
  window.addEventListener("sonopaint-play", stop);

  function play(tile, url) {
    const again = playing === tile;
    stop();
    if (again) return;
    window.dispatchEvent(new CustomEvent("sonopaint-play", { detail: tile }));
    audio.src = url;
    audio.play().catch(() => {});
    playing = tile;
    tile.classList.add("playing");
  }

  // data: {key, prompt, view, audio}; what happens when its words are clicked, and more buttons.
  function tile(data, choose, ...more) {
    const picture = make("button", { type: "button", class: "sp-tile-picture", "aria-label": `Play: ${data.prompt}`,
      onclick: () => play(box, fileUrl(data.audio)) }, icon("play"));
    const image = new Image();
    image.onload = () => picture.prepend(coloured(image));
    image.src = fileUrl(data.view);
    const box = make("div", { class: "sp-tile" }, picture,
      make("button", { type: "button", class: "sp-chip", onclick: () => choose(data) }, data.prompt), ...more);
    return box;
  }

  // value: {groups: {title: [tile]}, demos: [tile]}
  function paletteOf(value, choose) {
    return Object.entries(value.groups ?? {}).map(([title, tiles]) => make("section", { class: "sp-kinds" },
      make("h2", {}, title), make("div", {}, ...tiles.map((data) => tile(data, choose)))));
  }
  function demosOf(value, choose, edit) {
    return make("div", { class: "sp-demos" }, ...(value.demos ?? []).map((data) => tile(data, choose,
      make("button", { type: "button", class: "sp-button", "aria-label": `Edit: ${data.prompt}`, onclick: () => edit(data) },
        icon("send"), "Edit"))));
  }

  // A button that opens the palette in a window of its own; event: 'idea' {prompt}.
  function mountPalette(element, { props, trigger }) {
    const root = element.querySelector(".sp-palette");
    const open = () => {
      const dialog = make("dialog", { class: "sp-dialog", "aria-label": "What Mini knows", onclose: () => { stop(); dialog.remove(); } });
      const choose = ({ prompt }) => { dialog.close(); trigger("idea", { prompt }); };
      dialog.append(make("button", { type: "button", class: "sp-button", onclick: () => dialog.close() }, "Close"),
        make("div", { class: "sp-scroll", tabindex: 0 }, ...paletteOf(props.value, choose)));
      root.append(dialog);
      dialog.showModal();
    };
    root.append(make("button", { type: "button", class: "sp-link-button", onclick: open }, "What Mini knows …"));
  }

  // A tip of one page.
  function mountTip(element) {
    const tip = element.querySelector(".sp-tip"), name = `sonopaint-tip-${tip.dataset.page}`;
    let gone = false;
    try { gone = localStorage.getItem(name) === "gone"; } catch { /* private windows: it comes back */ }
    tip.hidden = gone;
    tip.append(make("button", { type: "button", class: "sp-close", "aria-label": "Close this tip", onclick: () => {
      tip.hidden = true;
      try { localStorage.setItem(name, "gone"); } catch { /* as above */ }
    } }, icon("clear")));
  }

  Object.assign(window.Sonopaint, { paletteOf, demosOf, mountPalette, mountTip });
})();
