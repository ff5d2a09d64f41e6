// The roll of Jingle: notes from C3 to C5 over time, and below how hard each is played.
// value: {notes: [{start, seconds, number, velocity}], text: what the field beside it said}. What is drawn is written into
// that field at once: Play reads it.
(() => {
  const { make } = window.Sonopaint;
  const LOW = 48, HIGH = 72, ROW = 14, SECOND = 110, KEYS = 34, LANE = 60, GRID = 0.125;
  const HEIGHT = (HIGH - LOW + 1) * ROW;
  const NAMES = ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"];
  const nameOf = (number) => `${NAMES[number % 12]}${Math.floor(number / 12) - 1}`;
  const snapped = (seconds) => Math.round(seconds / GRID) * GRID;
  const within = (value, low, high) => Math.min(Math.max(value, low), high);
  const tidy = (value) => String(Number(value.toFixed(3)));

  function svg(tag, attributes, ...children) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  }

  // Notes in order, each ending where the next begins.
  function line(notes) {
    const sorted = [...notes].sort((a, b) => a.start - b.start);
    return sorted.filter((note, k) => {
      const next = sorted[k + 1];
      if (next) note.seconds = Math.min(note.seconds, next.start - note.start);
      return note.seconds > 0.02;
    });
  }

  function textOf(notes) {
    const words = [];
    let time = 0;
    for (const note of notes) {
      if (note.start - time > 0.02) words.push(`-:${tidy(note.start - time)}`);
      words.push(`${nameOf(note.number)}:${tidy(note.seconds)}:${note.velocity.toFixed(2)}`);
      time = note.start + note.seconds;
    }
    return words.join(" ");
  }

  window.Sonopaint.mountRoll = (element, { props, watch }, fieldAt) => {
    const root = element.querySelector(".sp-roll");
    let notes = [], chosen = null, drag = null, drawn = null;

    const told = () => {
      notes = line(notes);
      draw();
      const field = document.querySelector(fieldAt);
      drawn = field.value = textOf(notes);
      field.dispatchEvent(new Event("input", { bubbles: true }));
    };
    const seconds = () => Math.max(8, Math.ceil(Math.max(0, ...notes.map((n) => n.start + n.seconds)) + 1));
    const place = (event) => {
      const box = picture.getBoundingClientRect();
      return { time: Math.max(0, (event.clientX - box.left - KEYS) / SECOND), y: event.clientY - box.top };
    };
    const numberAt = (y) => within(HIGH - Math.floor(y / ROW), LOW, HIGH);
    let picture = null;

    function draw() {
      const width = KEYS + seconds() * SECOND, focused = notes.indexOf(chosen);
      picture = svg("svg", { width, height: HEIGHT + LANE, role: "group", "aria-label": "Roll of notes", onpointerdown: begin });
      for (let number = LOW; number <= HIGH; number++) {
        const y = (HIGH - number) * ROW, black = NAMES[number % 12].length > 1;
        picture.append(svg("rect", { x: KEYS, y, width: width - KEYS, height: ROW, class: black ? "black" : "white" }));
        picture.append(svg("rect", { x: 0, y, width: KEYS - 4, height: ROW - 1, class: black ? "key black" : "key white" }));
        if (number % 12 === 0) {
          const label = svg("text", { x: 4, y: y + ROW - 3 });
          label.textContent = nameOf(number);
          picture.append(label);
        }
      }
      for (let beat = 0; beat <= seconds() * 2; beat++) {
        const x = KEYS + beat * SECOND / 2;
        picture.append(svg("line", { x1: x, x2: x, y1: 0, y2: HEIGHT + LANE, class: beat % 2 ? "half" : "whole" }));
      }
      notes.forEach((note, k) => {
        const x = KEYS + note.start * SECOND, wide = Math.max(5, note.seconds * SECOND - 1);
        const says = `${nameOf(note.number)} at ${tidy(note.start)} s, ${tidy(note.seconds)} s long, velocity ${Math.round(100 * note.velocity)} %`;
        const box = svg("rect", { x, y: (HIGH - note.number) * ROW + 1, width: wide, height: ROW - 2, rx: 2, class: "note",
          tabindex: 0, role: "button", "aria-label": says, "data-note": k, style: `fill-opacity:${0.35 + 0.65 * note.velocity}`,
          onkeydown: (event) => key(event, note), onfocus: () => { chosen = note; } });
        const tall = Math.max(3, note.velocity * (LANE - 8));
        picture.append(box, svg("rect", { x, y: HEIGHT + LANE - tall, width: wide, height: tall, class: "velocity", "data-note": k }));
        if (k === focused) queueMicrotask(() => box.focus({ preventScroll: true }));
      });
      root.querySelector(".sp-roll-view").replaceChildren(picture);
      root.classList.toggle("empty", !notes.length);
    }

    function key(event, note) {
      const steps = {
        ArrowUp: () => { note.number = within(note.number + 1, LOW, HIGH); },
        ArrowDown: () => { note.number = within(note.number - 1, LOW, HIGH); },
        ArrowLeft: () => { if (event.shiftKey) note.seconds = Math.max(GRID, note.seconds - GRID); else note.start = Math.max(0, note.start - GRID); },
        ArrowRight: () => { if (event.shiftKey) note.seconds += GRID; else note.start += GRID; },
        "+": () => { note.velocity = within(note.velocity + 0.1, 0.12, 1); },
        "-": () => { note.velocity = within(note.velocity - 0.1, 0.12, 1); },
        Delete: () => { notes = notes.filter((one) => one !== note); },
        Backspace: () => { notes = notes.filter((one) => one !== note); },
      };
      if (!steps[event.key]) return;
      event.preventDefault();
      chosen = note;
      steps[event.key]();
      told();
    }

    function begin(event) {
      if (event.button) return;
      const { time, y } = place(event);
      const at = event.target.dataset?.note, note = at == null ? null : notes[Number(at)];
      if (y >= HEIGHT) {
        const below = note ?? notes.find((n) => time >= n.start && time < n.start + n.seconds);
        if (!below) return;
        drag = { kind: "velocity", note: below };
      } else if (note) {
        const edge = KEYS + (note.start + note.seconds) * SECOND - (event.clientX - picture.getBoundingClientRect().left);
        drag = edge < 8 ? { kind: "length", note } : { kind: "move", note, time: time - note.start };
      } else if (event.clientX - picture.getBoundingClientRect().left > KEYS) {
        const fresh = { start: Math.floor(time / GRID) * GRID, seconds: GRID, number: numberAt(y), velocity: notes.at(-1)?.velocity ?? 0.7 };
        notes.push(fresh);
        drag = { kind: "length", note: fresh, fresh: true };
      } else return;
      drag.from = time;
      chosen = drag.note;
      root.setPointerCapture(event.pointerId);
      event.preventDefault();
      move(event);
    }

    function move(event) {
      if (!drag) return;
      const { time, y } = place(event), note = drag.note;
      drag.moved ||= Math.abs(time - drag.from) > 0.05 || numberAt(y) !== note.number;
      if (drag.kind === "velocity") note.velocity = within((HEIGHT + LANE - y) / (LANE - 8), 0.12, 1);
      if (drag.kind === "length" && drag.moved) note.seconds = Math.max(GRID, snapped(time - note.start));
      if (drag.kind === "move" && drag.moved) {
        note.start = Math.max(0, snapped(time - drag.time));
        note.number = numberAt(y);
      }
      draw();
    }

    function end() {
      if (!drag) return;
      if (drag.fresh && !drag.moved) drag.note.seconds = 0.5; // a click is half a second
      drag = null;
      told();
    }

    // While it is dragged the picture is drawn anew, so what stays listens.
    root.addEventListener("pointermove", move);
    root.addEventListener("pointerup", end);
    root.addEventListener("pointercancel", end);
    root.addEventListener("dblclick", (event) => {
      const at = event.target.dataset?.note;
      if (at == null) return;
      notes.splice(Number(at), 1);
      chosen = null;
      told();
    });
    root.append(make("div", { class: "sp-roll-view" }),
      make("p", { class: "sp-quiet" }, "Click or drag to add a note, drag it to move it, its end to lengthen it, the bar below for how hard it is played; double-click or Delete removes it. Arrow keys move it, with Shift they change its length, + and - its velocity."));

    const render = () => {
      const { text } = props.value ?? {}, field = document.querySelector(fieldAt);
      // Not while it is drawn on, nor for what was drawn here, nor for a text that no longer stands.
      if (drag || text === drawn || (field && text !== field.value)) return;
      drawn = null;
      notes = (props.value?.notes ?? []).map((note) => ({ ...note }));
      draw();
    };
    watch("value", render);
    render();
  };
})();
