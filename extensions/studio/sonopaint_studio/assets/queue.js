// The queue at the top: a button that tells how far it is, and the list of jobs below it.
(() => {
  const { make, icon } = window.Sonopaint;
  const BUSY_MS = 700, IDLE_MS = 4000;

  // value: {jobs: [{number, page, title, state, said, done, left, mine}], mine, memory, model};
  // events: 'look', 'cancel' {number}, 'move' {number, places}, 'free'
  window.Sonopaint.mountQueue = (element, { props, trigger, watch }) => {
    const root = element.querySelector(".sp-queue");
    const label = make("span", {}), bar = make("i", {});
    const button = make("button", { type: "button", class: "sp-queue-button", "aria-expanded": "false", title: "What runs and what waits",
      onclick: () => show(list.hidden) }, label, bar);
    const list = make("div", { class: "sp-queue-list", hidden: true });
    root.append(button, list);
    const told = new Map();  // what writes a job's words and its progress into its row, by its number
    let drawn = "";

    function show(open) {
      list.hidden = !open;
      button.setAttribute("aria-expanded", String(open));
      if (open) { render(); look(); }
    }

    const tool = (name, title, action, disabled = false) => make("button", { type: "button", class: "sp-tool", title,
      "aria-label": title, disabled, onclick: action }, icon(name));

    function row(job, first, last) {
      const live = job.state === "runs" || job.state === "waits", { number } = job;
      const tools = [];
      if (job.state === "waits") {
        tools.push(tool("up", `Earlier: ${job.title}`, () => trigger("move", { number, places: -1 }), first),
          tool("down", `Later: ${job.title}`, () => trigger("move", { number, places: 1 }), last));
      }
      if (live) tools.push(tool("clear", `Cancel: ${job.title}`, () => trigger("cancel", { number })));
      const words = make("small", {}), progress = make("i", {});
      told.set(number, ({ said, left, done }) => {
        words.textContent = [said, left].filter(Boolean).join(" · ");
        progress.style.width = `${100 * done}%`;
      });
      return make("li", { class: `sp-job sp-job-${job.state}` },
        make("div", {}, make("a", { href: `#${job.page === "estimate" ? "train" : job.page}` }, job.title), words,
          ...(job.state === "runs" ? [make("div", { class: "sp-progress" }, progress)] : [])),
        ...tools);
    }

    function render() {
      const { jobs, mine, memory, model } = props.value ?? { jobs: [] };
      const live = jobs.filter(({ state }) => state === "runs" || state === "waits");
      const waiting = live.filter(({ state }) => state === "waits");
      const ended = jobs.filter((job) => !live.includes(job)).reverse();
      window.Sonopaint.working = mine;
      label.textContent = live.length ? `Queue · ${live.length}` : "Queue";
      const running = live.find(({ state }) => state === "runs");
      bar.style.width = `${100 * (running?.done ?? 0)}%`;
      button.classList.toggle("busy", live.length > 0);
      if (list.hidden) return;
      // Rows stay while nothing begins, ends or moves: what is being pressed must not be replaced.
      const shape = JSON.stringify([[...live, ...ended].map(({ number, state }) => [number, state]), model]);
      if (shape !== drawn) {
        drawn = shape;
        told.clear();
        const focused = list.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
        list.replaceChildren(
          live.length ? make("ol", {}, ...live.map((job) => row(job, job === waiting[0], job === waiting.at(-1))))
            : make("p", { class: "sp-quiet" }, "Nothing runs. Jobs of all pages wait here for their turn, and go on when the page is closed."),
          ...(ended.length ? [make("h4", {}, "Done"), make("ol", {}, ...ended.map((job) => row(job)))] : []),
          make("footer", {}, make("span", {}), ...(model ? [make("button", { type: "button", class: "sp-link-button",
            disabled: Boolean(running), onclick: () => trigger("free", {}) }, "Give it back")] : [])));
        if (focused) [...list.querySelectorAll("button")].find((one) => one.getAttribute("aria-label") === focused)?.focus();
      }
      for (const job of jobs) told.get(job.number)?.(job);
      list.querySelector("footer span").textContent =
        [memory && `${memory} of memory`, model && `${model} is loaded`].filter(Boolean).join(" · ");
    }

    let timer = 0;
    function look() {
      clearTimeout(timer);
      trigger("look", {});
      const busy = (props.value?.jobs ?? []).some(({ state }) => state === "runs" || state === "waits");
      timer = setTimeout(look, busy ? BUSY_MS : document.hidden ? 4 * IDLE_MS : IDLE_MS);
    }
    // What was just started shows at once, and this tab asks before it is left.
    document.addEventListener("click", (event) => {
      if (event.target.closest(".sp-go button")) setTimeout(look, 300);
      if (!root.contains(event.target)) show(false);
    });
    document.addEventListener("keydown", (event) => { if (event.key === "Escape") show(false); });
    watch("value", render);
    render();
    look();
  };
})();
