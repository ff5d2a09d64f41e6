// Every sound of a batch: a spectrogram with a player for each, one below the other.
export const ROW = 190;  // pixels that one takes
export const MOST_ROWS = 3;  // that are seen at once; the others are scrolled to

export function soundsWidget(LookWidget) {
  return class SoundsWidget {
    constructor() {
      const { make } = window.Sonopaint;
      this.notice = make("p", { class: "sonopaint-hint", role: "status" }, "Run the workflow to see and hear the sounds here.");
      this.list = make("div", { class: "sonopaint-sounds" });
      this.root = make("div", { class: "sonopaint-widget sonopaint-batch" }, this.list, this.notice);
      this.root.addEventListener("wheel", (event) => { if (this.list.scrollHeight > this.list.clientHeight) event.stopPropagation(); });
      this.rows = [];
    }
    get value() { return ""; }
    set value(_) { /* nothing to keep */ }
    say(text) {
      this.notice.textContent = text;
      this.notice.hidden = !text;
    }
    // views: as the server gives them; without a picture (very long sounds) there is a player only.
    showAll(views) {
      const { make, fileUrl } = window.Sonopaint;
      this.destroy();
      this.root.classList.toggle("filled", views.length > 0);
      this.say("");
      views.forEach((view, index) => {
        const name = view.audio.type === "output" ? view.audio.filename : `${index + 1}`;
        const row = make("div", { class: "sonopaint-sound" });
        if (views.length > 1 || view.audio.type === "output") {
          row.append(make("a", { class: "sonopaint-name", href: fileUrl(view.audio), download: view.audio.filename,
            title: "Download" }, name));
        }
        if (view.view) {
          const look = new LookWidget();
          this.rows.push(look);
          row.append(look.root);
          this.list.append(row);
          look.show(view);
        } else {
          row.append(make("audio", { controls: true, src: fileUrl(view.audio) }));
          this.list.append(row);
        }
      });
    }
    destroy() {
      for (const row of this.rows) row.destroy();
      this.rows = [];
      this.list.replaceChildren();
    }
  };
}
