// Before and after, switched while they play: in step to the sample, equally loud, round and round what is marked.
(() => {
  const { make, icon, fileUrl } = window.Sonopaint;
  const FADE_S = 0.004, AROUND_S = 0.25, MOST_DB = 24;
  const bars = new Set(); // of all pages

  // How loud a part of a sound is to ears (K weighting, ITU-R BS.1770), as a mean square.
  async function power(buffer, from, to) {
    const context = new OfflineAudioContext(1, Math.max(1, Math.round((to - from) * buffer.sampleRate)), buffer.sampleRate);
    const source = new AudioBufferSourceNode(context, { buffer });
    const shelf = new BiquadFilterNode(context, { type: "highshelf", frequency: 1682, gain: 4 });
    const pass = new BiquadFilterNode(context, { type: "highpass", frequency: 38, Q: -6 });
    source.connect(shelf).connect(pass).connect(context.destination);
    source.start(0, from);
    const samples = (await context.startRendering()).getChannelData(0);
    return samples.reduce((sum, x) => sum + x * x, 0) / samples.length;
  }

  class Comparison {
    // sounds: [{label, data, offset}], offset: seconds by which it begins earlier than the first; editor: whose marks
    // are looped, null for none; viewOf(key): the view of a sound, which shows its cursor too.
    constructor(sounds, editor, viewOf) {
      this.sounds = sounds;
      this.editor = editor;
      this.viewOf = viewOf;
      this.chosen = sounds.length > 1 ? 1 : 0;
      this.nodes = null;
      this.play = make("button", { type: "button", class: "sg-play", onclick: () => this.toggle() });
      this.choices = sounds.map(({ label }, index) => make("button", { type: "button", class: "sp-button",
        onclick: () => this.choose(index) }, label));
      this.equal = make("input", { type: "checkbox", checked: true, onchange: () => this.balance() });
      this.hint = make("span", { class: "sp-hint", role: "status" });
      this.element = make("div", { class: "sp-compare", role: "group", "aria-label": "Compare before and after" }, this.play,
        make("span", { class: "sp-choices" }, ...this.choices), make("label", {}, this.equal, "Equally loud"), this.hint);
      this.onPlayElsewhere = (event) => { if (event.detail !== this) this.stop(); };
      window.addEventListener("sonopaint-play", this.onPlayElsewhere);
      bars.add(this);
      this.refresh();
    }

    destroy() {
      this.stop();
      bars.delete(this);
      window.removeEventListener("sonopaint-play", this.onPlayElsewhere);
      this.context?.close();
      this.element.remove();
    }

    toggle() { if (this.nodes) this.stop(); else this.start(); }

    choose(index) {
      this.chosen = index;
      this.balance();
      this.refresh();
    }
    // The other of the first and what was chosen last.
    swap() {
      if (this.chosen) this.last = this.chosen;
      this.choose(this.chosen ? 0 : this.last ?? 1);
    }

    // What is looped, on the first sound's clock: the marks with a little around them, within all sounds.
    get span() {
      const shared = Math.min(...this.sounds.map(({ data, offset }) => data.duration - offset));
      const first = Math.max(...this.sounds.map(({ offset }) => -offset));  // what begins later than the first sound
      const marked = this.editor?.range;
      if (!marked || marked.from >= shared) return { from: first, to: shared };
      return { from: Math.max(first, marked.from - AROUND_S), to: Math.min(shared, marked.to + AROUND_S) };
    }

    async start() {
      const turn = this.turn = {};
      this.hint.textContent = "Loading …";
      try {
        this.context ??= new AudioContext();
        await this.context.resume();
        this.buffers ??= await Promise.all(this.sounds.map(async ({ data }) =>
          this.context.decodeAudioData(await (await fetch(fileUrl(data.audio))).arrayBuffer())));
        const { from, to } = this.looped = this.span;
        const powers = await Promise.all(this.buffers.map((buffer, i) =>
          power(buffer, from + this.sounds[i].offset, to + this.sounds[i].offset)));
        if (this.turn !== turn) return;
        const heard = powers.filter((p) => p > 0), least = Math.max(Math.min(...heard), Math.max(...heard) / 10 ** (MOST_DB / 10));
        this.matched = powers.map((p) => (p > 0 ? Math.min(1, Math.sqrt(least / p)) : 1));
      } catch (error) {
        this.hint.textContent = `The sounds can't be played: ${error.message}`;
        return;
      }
      window.dispatchEvent(new CustomEvent("sonopaint-play", { detail: this }));
      const { from, to } = this.looped;
      this.began = this.context.currentTime + 0.03;
      this.nodes = this.buffers.map((buffer, i) => {
        const offset = this.sounds[i].offset, gain = new GainNode(this.context, { gain: 0 });
        const source = new AudioBufferSourceNode(this.context, { buffer, loop: true, loopStart: from + offset, loopEnd: to + offset });
        source.connect(gain).connect(this.context.destination);
        source.start(this.began, from + offset);
        return { source, gain };
      });
      this.balance();
      this.refresh();
      this.follow();
    }

    stop() {
      this.turn = null;
      this.nodes?.forEach(({ source }) => source.stop());
      this.nodes = null;
      this.show(null);
      this.refresh();
    }

    // Each sound's gain: the chosen one is heard.
    gains() {
      return this.sounds.map((_, i) => (i !== this.chosen ? 0 : this.equal.checked ? this.matched?.[i] ?? 1 : 1));
    }
    balance() {
      if (!this.nodes) return;
      this.gains().forEach((value, i) => this.nodes[i].gain.gain.setTargetAtTime(value, this.context.currentTime, FADE_S));
    }

    show(now) {
      this.sounds.forEach(({ data, offset }, i) => {
        const view = i ? this.viewOf(data.key) : this.editor;
        if (!view?.data) return;
        view.played = now === null ? null : now + offset;
        view.moveCursor();
      });
    }
    follow() {
      if (!this.nodes) return;
      const { from, to } = this.looped, wanted = this.span;
      if (!this.editor?.drag && (wanted.from !== from || wanted.to !== to)) { this.stop(); this.start(); return; }
      this.show(from + Math.max(0, this.context.currentTime - this.began) % (to - from));
      requestAnimationFrame(() => this.follow());
    }

    refresh() {
      const on = Boolean(this.nodes);
      this.play.replaceChildren(icon(on ? "pause" : "play"));
      this.play.setAttribute("aria-label", on ? "Stop comparing" : "Compare");
      this.play.title = "Play before and after in step, round what is marked";
      this.choices.forEach((button, i) => button.setAttribute("aria-pressed", i === this.chosen));
      this.hint.textContent = on ? `${this.looped.from.toFixed(2)} to ${this.looped.to.toFixed(2)} s · B switches` : "";
    }
  }

  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "b" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (/^(TEXTAREA|SELECT|INPUT)$/.test(event.target.tagName) && event.target.type !== "checkbox") return;
    window.Sonopaint.comparison?.swap();
  });
  window.Sonopaint.Comparison = Comparison;
  // The one on the page that is seen.
  Object.defineProperty(window.Sonopaint, "comparison", { get: () => [...bars].find(({ element }) => element.offsetParent) });
})();
