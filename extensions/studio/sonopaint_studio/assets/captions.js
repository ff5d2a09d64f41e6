// The clips of a dataset: spectrogram, player and caption of each, a page at a time.
(() => {
  const { make, SpectrogramView } = window.Sonopaint;

  // value: {clips: [{key, text, more, source, split, view, audio, duration, edges}], page, pages, total, empty}
  // events: caption {key, text}, turn {page}
  window.Sonopaint.mountCaptions = (element, { props, trigger, watch }) => {
    const root = element.querySelector(".sp-captions");
    let views = [];

    function send(field, key) {
      const text = field.value.trim().replace(/\s+/g, " ");
      if (text === field.dataset.saved) return;
      field.dataset.saved = text;
      trigger("caption", { key, text });
    }

    function typed(event, key) {
      if (event.key === "Enter" && !event.shiftKey && !event.ctrlKey && !event.metaKey) {
        event.preventDefault();  // a caption is one line; Enter saves it and goes on to the next
        const fields = [...root.querySelectorAll("textarea")];
        const next = fields[fields.indexOf(event.target) + 1];
        send(event.target, key);
        if (next) { next.focus(); next.select(); } else event.target.blur();
      } else if (event.key === "Escape") {
        event.target.value = event.target.dataset.saved;
        event.target.blur();
      }
    }

    function card(data) {
      const body = make("div", { class: "sg" });
      const field = make("textarea", { rows: 2, spellcheck: "true", "aria-label": `Caption of ${data.source}`,
        onkeydown: (event) => typed(event, data.key), onchange: () => send(field, data.key) });
      field.value = field.dataset.saved = data.text;
      const more = data.more.length ? make("p", { class: "sp-hint" }, `also: ${data.more.join(" · ")}`) : "";
      const view = new SpectrogramView(body, `Spectrogram of ${data.source}`);
      view.player.append(make("span", { class: "sp-hint sp-clip-source", title: data.source }, `${data.split} · ${data.source.split("/").pop()}`));
      view.show(data);
      views.push(view);
      return make("article", { class: "sp-card sp-clip", "data-key": data.key }, body, field, more);
    }

    function pager(value) {
      const go = (to) => { root.scrollIntoView({ block: "start" }); trigger("turn", { page: to }); };
      const button = (label, to, off) => make("button", { type: "button", class: "sp-button", disabled: off,
        onclick: () => go(to) }, label);
      const count = value.total === 1 ? "1 clip" : `${value.total} clips`;
      return make("nav", { class: "sp-pager", "aria-label": "Pages" },
        button("Back", value.page - 1, value.page === 0),
        make("span", {}, value.pages > 1 ? `Page ${value.page + 1} of ${value.pages} · ${count}` : count),
        button("Next", value.page + 1, value.page + 1 >= value.pages));
    }

    function render() {
      const value = props.value?.clips ? props.value : { clips: [], pages: 1, page: 0, total: 0 };
      for (const view of views) view.destroy();
      views = [];
      if (!value.clips.length) {
        root.replaceChildren(make("p", { class: "sp-empty-line" }, value.empty ?? ""));
        return;
      }
      root.replaceChildren(pager(value), make("div", { class: "sp-clips" }, ...value.clips.map(card)));
      if (value.pages > 1) root.append(pager(value));
    }

    watch("value", render);
    render();
  };

  // value: {html}: a whole page, shown in a window of its own that can run nothing; event: none.
  window.Sonopaint.mountReport = (element, { props, watch }) => {
    const root = element.querySelector(".sp-report");
    watch("value", () => {
      const html = props.value?.html;
      if (!html) return;
      const theme = document.body.classList.contains("dark") ? "dark" : "light";
      const frame = make("iframe", { sandbox: "", title: "Report" });
      frame.srcdoc = html.replace("<html ", `<html data-theme="${theme}" `);
      const close = make("button", { type: "button", class: "sp-button", onclick: () => dialog.close() }, "Close");
      const dialog = make("dialog", { class: "sp-dialog", onclose: () => dialog.remove() }, close, frame);
      root.replaceChildren(dialog);
      dialog.showModal();
      close.focus();
    });
  };
})();
