// Results: one card each with spectrogram, player, downloads and what can be done next.
(() => {
  const { make, icon, fileUrl, SpectrogramView } = window.Sonopaint;

  // value: {cards: [{key, title, note, detail, view, audio, duration, edges, loop, downloads: {WAV: path, …}}],
  //         actions: [[event, label]], empty: html-free text, ideas: {group: [prompt]}}
  window.Sonopaint.mountCards = (element, { props, trigger, watch, upload }) => {
    const root = element.querySelector(".sp-cards");
    const shown = new Map();

    function card(data, actions) {
      const head = make("div", { class: "sp-card-head" },
        make("strong", { title: data.title }, data.title), make("span", {}, data.note, make("span", { class: "sp-detail" }, ` · ${data.detail}`)));
      const body = make("div", { class: "sg" });
      const article = make("article", { class: "sp-card", "data-key": data.key }, head, body);
      const view = new SpectrogramView(body, `Spectrogram of ${data.title}`);
      const links = Object.entries(data.downloads).map(([name, path]) =>
        make("a", { href: fileUrl(path), download: path.split(/[\\/]/).pop(), class: "sp-link" }, name));
      view.player.append(make("span", { class: "sp-links", title: "Download" }, make("span", { class: "sp-detail" }, "Save"), ...links));
      for (const [name, label] of actions) {
        view.player.append(make("button", { class: "sp-button", type: "button",
          onclick: () => trigger(name, { key: data.key }) }, icon(name === "send" ? "send" : "up"), label));
      }
      view.show(data);
      return { article, view };
    }

    function welcome(value) {
      const box = make("div", { class: "sp-empty" }, make("p", { class: "sp-empty-line" }, value.empty ?? ""));
      for (const [group, prompts] of Object.entries(value.ideas ?? {})) {
        box.append(make("div", { class: "sp-ideas" }, make("h4", {}, group),
          make("div", {}, ...prompts.map((prompt) => make("button", { type: "button", class: "sp-chip",
            onclick: () => trigger("idea", { prompt }) }, prompt)))));
      }
      return box;
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
