// Results: one card each with spectrogram, player, downloads and what can be done next.
(() => {
  const { make, icon, fileUrl, saveLinks, draggable, nameOf, Comparison, SpectrogramView, paletteOf,
    demosOf } = window.Sonopaint;

  // What can be done with a sound of the library.
  const PLACES = { send: "Edit", blend: "Blend: as a source", again: "Generate: its settings", subject: "Subject: as a clip", dataset: "Dataset: as a sound" };
  function kept({ key, favourite, title }, trigger) {
    const star = make("button", { type: "button", class: "sp-tool sp-star", title: "Favourite", "aria-label": `Favourite: ${title}`,
      "aria-pressed": String(favourite), onclick: () => {
        const on = star.getAttribute("aria-pressed") !== "true";
        star.setAttribute("aria-pressed", String(on));
        trigger("like", { key, on });
      } }, icon("star"));
    const places = make("select", { class: "sp-places", "aria-label": `Send ${title} to`, onchange: () => {
      trigger(places.value, { key });
      places.value = "";
    } }, make("option", { value: "" }, "Send to …"), ...Object.entries(PLACES).map(([value, label]) => make("option", { value }, label)));
    const remove = make("button", { type: "button", class: "sp-tool", title: "Delete", "aria-label": `Delete ${title}`,
      onclick: () => trigger("remove", { key }) }, icon("clear"));
    return [star, places, remove];
  }

  // value: {cards: [{key, title, note, detail, view, audio, duration, edges, loop, downloads: {WAV: path, …}}],
  //         actions: [[event, label]], empty: html-free text, palette: null or what palette.js shows,
  //         library: whether the cards can be liked, deleted and sent anywhere,
  //         compare: null or {before: a card, offset: seconds by which the cards begin earlier than it, alone: whether it
  //         is none that the editor shows, label: what it is called, names: of the cards, others: [[label, card]] to compare with, too}}
  window.Sonopaint.mountCards = (element, { props, trigger, watch, upload }) => {
    const root = element.querySelector(".sp-cards");
    const shown = new Map();

    function card(data, actions) {
      const head = make("div", { class: "sp-card-head", title: "Drag it out to save it" },
        make("strong", { title: data.title }, data.title), make("span", {}, data.note, make("span", { class: "sp-detail" }, ` · ${data.detail}`)));
      const body = make("div", { class: "sg" });
      const article = make("article", { class: "sp-card", "data-key": data.key }, head, body);
      if (data.warning) head.after(make("p", { class: "sp-warning" }, data.warning));
      const view = new SpectrogramView(body, `Spectrogram of ${data.title}`, { tools: true });
      draggable(head, fileUrl(data.audio), nameOf(data.audio));
      view.player.append(make("span", { class: "sp-links", title: "Download" }, make("span", { class: "sp-detail" }, "Save"), ...saveLinks(data)));
      for (const [name, label] of actions) {
        view.player.append(make("button", { class: "sp-button", type: "button",
          onclick: () => trigger(name, { key: data.key }) }, icon(name === "send" ? "send" : "up"), label));
      }
      if (data.kept && props.value?.library) view.player.append(...kept(data, trigger));
      view.show(data);
      return { article, view };
    }

    function welcome(value) {
      const box = make("div", { class: "sp-empty" }, make("p", { class: "sp-empty-line" }, value.empty ?? ""));
      if (value.palette) {
        const idea = ({ prompt }) => trigger("idea", { prompt });
        box.append(demosOf(value.palette, idea, ({ key }) => trigger("demo", { key })), ...paletteOf(value.palette, idea));
      }
      return box;
    }

    // The bar above the cards that switches between them and what they were made from.
    let compared = null;
    function compare({ cards, compare: pair }) {
      const others = (pair?.others ?? []).map(([label, data]) => ({ label, data, offset: 0 }));
      const keys = pair ? [pair.before, ...cards, ...others.map(({ data }) => data)].map(({ key }) => key).join() : null;
      if (compared?.keys !== keys) {
        compared?.bar.destroy();
        compared = null;
        if (pair) {
          const after = cards.map((data, i) => ({ label: pair.names?.[i] ?? (cards.length > 1 ? `Take ${i + 1}` : "After"), data, offset: pair.offset }));
          const before = { label: pair.label ?? (pair.alone ? "Reference" : "Before"), data: pair.before, offset: 0 };
          const bar = new Comparison([before, ...after, ...others], pair.alone ? null : window.Sonopaint.editor,
            (key) => shown.get(key)?.view);
          compared = { keys, bar };
        }
      }
      if (compared) root.prepend(compared.bar.element);
    }

    function render() {
      const value = props.value ?? { cards: [] };
      const keys = new Set(value.cards.map((data) => data.key));
      for (const [key, { article, view }] of shown) {
        if (!keys.has(key)) { view.destroy(); article.remove(); shown.delete(key); }
      }
      const articles = value.cards.map((data) => {
        if (!shown.has(data.key)) shown.set(data.key, card(data, value.actions ?? []));
        return shown.get(data.key).article;
      });
      root.dataset.count = articles.length;
      root.replaceChildren(...(articles.length ? articles : [welcome(value)]));
      compare(value);
    }

    root.addEventListener("dragover", () => root.classList.add("over"));
    root.addEventListener("dragleave", () => root.classList.remove("over"));
    root.addEventListener("drop", async (event) => {
      root.classList.remove("over");
      const file = event.dataTransfer?.files?.[0];
      if (!file || !props.value?.drop) return;
      const { path } = await upload(file);
      trigger("dropped", { path, name: file.name });
    });
    watch("value", render);
    render();
  };
})();
