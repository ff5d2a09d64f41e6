// A listening test in one file: reference and variation, a rating of 1 to 5, words; the answers as CSV.
"use strict";
const TEST = JSON.parse(document.getElementById("test").textContent);
const PLACE = document.getElementById("place");
const STORED = "sonopaint-listen-" + TEST.id;
const SCALE = [
  [1, "another thing"], [2, "related"], [3, "the same kind"], [4, "nearly the same thing"], [5, "the same thing"],
];
const WORD_KEYS = "asdfghjklzxc";
const COLUMNS = ["test", "listener", "name", "position", "trial", "practice", "rating", "words",
  "reference_plays", "variation_plays", "seconds"];
const TRIALS = new Map(TEST.trials.map((trial) => [trial.id, trial]));
// On a busy machine Chromium sometimes hands a file that is reloaded an empty localStorage, for as long as it is open.
// What the tab itself keeps is there then; the newer of both counts.
const KEPT = ["localStorage", "sessionStorage"];
let remembers = true;
let state = recall() || begun();
let players = [];
let since = 0;
let screen = "welcome";

function random() {
  return crypto.getRandomValues(new Uint32Array(1))[0] / 2 ** 32;
}

// Every listener hears the trials in an order of their own, practice first.
function begun() {
  const order = TEST.trials.filter((trial) => !trial.practice).map((trial) => trial.id);
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  const practice = TEST.trials.filter((trial) => trial.practice).map((trial) => trial.id);
  const listener = Array.from(crypto.getRandomValues(new Uint8Array(6)), (b) => b.toString(16).padStart(2, "0"));
  return { listener: "p" + listener.join(""), name: "", order: [...practice, ...order], at: 0, answers: {} };
}

function recall() {
  const found = KEPT.flatMap((where) => {
    try {
      const one = JSON.parse(window[where].getItem(STORED));
      return one && one.order.every((id) => TRIALS.has(id)) ? [one] : [];
    } catch { return []; }
  });
  return found.sort((a, b) => (b.kept || 0) - (a.kept || 0))[0];
}

function keep() {
  state.kept = Date.now();
  const kept = KEPT.filter((where) => {
    try { window[where].setItem(STORED, JSON.stringify(state)); return true; } catch { return false; }
  });
  remembers = kept.includes("localStorage");
}

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

function show(name, ...children) {
  players.forEach((player) => player.pause());
  players = [];
  screen = name;
  PLACE.replaceChildren(...children);
  window.scrollTo(0, 0);
}

function answer() {
  const id = state.order[state.at];
  return state.answers[id] ||= { rating: null, words: [], plays: [0, 0], seconds: 0 };
}

function rated() {
  return state.order.filter((id) => state.answers[id]?.rating).length;
}

function welcome() {
  const done = rated(), total = state.order.length;
  const name = element("input", { id: "name", maxlength: 40, value: state.name, autocomplete: "off" });
  const start = () => {
    state.name = name.value.replace(/[^\p{L}\p{N} ._-]/gu, "").trim();
    keep();
    trial();
  };
  name.addEventListener("keydown", (event) => { if (event.key === "Enter") start(); });
  show("welcome",
    element("h1", {}, TEST.title),
    element("p", {}, "You hear a reference and a variation of it, and say how surely both are the same thing: the same " +
      "dog, the same door, the same drum. A variation may be another take of it; it need not be a copy."),
    element("p", {}, "Take headphones in a quiet room. Play the first sound, set a comfortable volume, and leave it."),
    element("p", {}, `${total} pairs, of which the first is for practice; about ${Math.ceil(total * 12 / 60)} minutes. ` +
      "You can stop and come back at any time in this browser."),
    element("label", { for: "name" }, "Your name or a nickname (optional)"), name,
    element("div", { class: "steps" }, element("span"),
      element("button", { class: "go", id: "begin", onclick: start }, done ? `Go on (${done} of ${total} done)` : "Begin")));
  name.focus();
}

function trial() {
  if (state.at >= state.order.length) return finished();
  const one = TRIALS.get(state.order[state.at]), given = answer();
  since = performance.now();
  const sounds = element("div", { class: "sounds" });
  const scale = element("div", { class: "scale", role: "group", "aria-label": "How surely is it the same thing?" });
  const words = element("div", { class: "words", role: "group", "aria-label": "What is different?" });
  const next = element("button", { class: "go", id: "next", onclick: forward }, "Next", element("kbd", {}, "Enter"));
  show("trial",
    element("div", { class: "top" },
      element("span", {}, `${state.at + 1} of ${state.order.length}`),
      one.practice ? element("span", { class: "badge" }, "Practice: this one is not counted") : element("span")),
    element("progress", { max: state.order.length, value: state.at }),
    sounds, element("h2", {}, "Is it the same thing?"), scale,
    element("h2", {}, "What is different? (optional)"), words,
    element("div", { class: "steps" },
      element("button", { id: "back", disabled: state.at === 0, onclick: back }, "Back", element("kbd", {}, "⌫")), next),
    element("p", { id: "warning", role: "status" },
      remembers ? "" : "This browser keeps nothing: finish in one go, or save what you have below."),
    element("p", {}, element("button", { onclick: save, id: "save" }, "Save what I have so far")));
  ["reference", "variation"].forEach((what, side) => {
    const player = new Audio(side ? one.sound : TEST.references[one.reference]);
    const said = element("small", {}, given.plays[side] ? "heard" : "not yet heard");
    const button = element("button", { id: what, onclick: () => play(side) },
      what[0].toUpperCase() + what.slice(1), element("kbd", {}, "RV"[side]), said);
    player.onplay = () => button.classList.add("playing");
    player.onpause = player.onended = () => button.classList.remove("playing");
    player.onerror = () => { said.textContent = "this browser can't play it: try another"; };
    player.heard = () => { said.textContent = "heard"; };
    players.push(player);
    sounds.append(button);
  });
  for (const [value, text] of SCALE) {
    scale.append(element("button", { "data-rating": value, onclick: () => rate(value) },
      element("b", {}, String(value)), element("small", {}, text)));
  }
  TEST.words.forEach(([id, text], index) => {
    words.append(element("button", { "data-word": id, onclick: () => toggle(id) },
      text, element("kbd", {}, WORD_KEYS[index].toUpperCase())));
  });
  refresh();
}

function refresh() {
  const given = answer(), heard = given.plays.every(Boolean);
  for (const button of PLACE.querySelectorAll("[data-rating]")) {
    button.disabled = !heard;
    button.setAttribute("aria-pressed", Number(button.dataset.rating) === given.rating);
  }
  for (const button of PLACE.querySelectorAll("[data-word]")) {
    button.setAttribute("aria-pressed", given.words.includes(button.dataset.word));
  }
  document.getElementById("next").disabled = !given.rating;
}

function play(side) {
  const given = answer(), player = players[side];
  players.forEach((one) => { one.pause(); one.currentTime = 0; });
  player.play().then(() => {
    given.plays[side] += 1;
    player.heard();
    keep();
    if (players[side] === player) refresh();
  }).catch(() => {});  // stopped before it began
}

function rate(value) {
  if (!answer().plays.every(Boolean)) return;
  answer().rating = value;
  keep();
  refresh();
}

function toggle(word) {
  const given = answer(), at = given.words.indexOf(word);
  if (at < 0) given.words.push(word); else given.words.splice(at, 1);
  keep();
  refresh();
}

function leave(step) {
  answer().seconds += (performance.now() - since) / 1000;
  state.at += step;
  keep();
  trial();
}

function forward() { if (answer().rating) leave(1); }
function back() { if (state.at > 0) leave(-1); }

function csv() {
  const quoted = (value) => `"${String(value).replaceAll('"', '""')}"`;
  const rows = state.order.flatMap((id, position) => {
    const given = state.answers[id];
    if (!given?.rating) return [];
    return [[TEST.id, state.listener, state.name, position, id, TRIALS.get(id).practice ? 1 : 0, given.rating,
      given.words.join("|"), ...given.plays, given.seconds.toFixed(1)].map(quoted).join(",")];
  });
  return [COLUMNS.join(","), ...rows].join("\r\n") + "\r\n";
}

function save() {
  const link = element("a", {
    href: URL.createObjectURL(new Blob([csv()], { type: "text/csv" })),
    download: `listen-${TEST.id}-${state.listener}.csv`,
  });
  document.body.append(link);
  link.click();
  link.remove();
}

function finished() {
  show("done",
    element("h1", {}, "Thank you"),
    element("p", {}, `${rated()} of ${state.order.length} pairs are rated. Save your answers and send the file to whoever ` +
      "gave you this page."),
    element("div", { class: "steps" },
      element("button", { onclick: () => { state.at = state.order.length - 1; trial(); } }, "Back"),
      element("button", { class: "go", id: "save", onclick: save }, "Save my answers")),
    element("details", {}, element("summary", {}, "If nothing is saved: copy this text"),
      element("textarea", { readonly: true }, csv())));
}

document.addEventListener("keydown", (event) => {
  if (screen !== "trial" || event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.toLowerCase();
  const word = TEST.words[WORD_KEYS.indexOf(key)];
  if (key === "r") play(0);
  else if (key === "v") play(1);
  else if (key >= "1" && key <= "5") rate(Number(key));
  else if (key === "backspace") back();
  else if (key === "enter" && event.target.tagName !== "BUTTON") forward();  // a focused button is pressed by it
  else if (key.length === 1 && word) toggle(word[0]);
  else return;
  event.preventDefault();
});

// A click leaves the keys to the page.
PLACE.addEventListener("mousedown", (event) => { if (event.target.closest("button")) event.preventDefault(); });

welcome();
