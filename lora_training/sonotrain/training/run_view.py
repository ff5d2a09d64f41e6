"""What pages show of a run, as HTML: a sentence, curves as SVG, previews with and without the LoRA, facts."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from pathlib import Path

from sonotrain.training.curves import STEADY, panels, series, smoothed
from sonotrain.training.runs import PAGES, Preview, RunState

WIDTH, HEIGHT, MARGIN = 520, 150, 46
PHASES = {
    "none": "Nothing is training here yet.",
    "preparing": "Preparing",
    "training": "Training",
    "finishing": "Writing what was learnt",
    "finished": "Finished",
    "stopped": "Stopped; everything is saved",
}
FIRST = ("loss", "validation_loss", "matching", "spread")  # of curves.panels, what a page shows
CURVES = 4  # at most


def sentence_of(state: RunState) -> str:
    """How a run is, for the line under the buttons."""
    if state.phase == "failed":
        return state.message or "The run ended without a word."
    if state.phase == "preparing" and state.doing:
        return state.doing
    said = PHASES[state.phase]
    if state.running:
        said += f": {_place(state)}" if state.step else ""
        return ". ".join([said, *state.notes])
    if state.step:
        said += f" at {_place(state)}."
    if state.file:
        said += f" The LoRA is {state.file}."
    return " ".join([said, *state.notes])


def _place(state: RunState) -> str:
    """How far a run is."""
    return f"step {state.step} of {state.total}" if state.total else f"step {state.step}"


def _shown(state: RunState) -> dict[str, str]:
    """The quantities of a page and their titles: FIRST, or the first that the log holds."""
    known = panels(state.log)
    found = {key: known[key] for key in FIRST if key in known}
    return found or {k: v for k, v in list(known.items())[:CURVES] if k not in ("lr", "norm")}


def facts_of(state: RunState) -> str:
    """Memory, speed and the last numbers, as a list."""
    if not state.log:
        return ""
    facts = {} if state.command in PAGES else {"Trainer": state.command}
    for key, name, form in (
        *((key, title.capitalize(), "{:.4f}") for key, title in _shown(state).items()),
        ("seconds_per_step", "Seconds a step", "{:.2f}"),
        ("lr", "Learning rate", "{:.2g}"),
    ):
        _, values = series(state.log, key)
        if values:
            facts[name] = form.format(values[-1])
    if state.memory_mb:
        facts["Peak memory"] = f"{state.memory_mb / 1024:.1f} GB"
    rows = "".join(f"<dt>{name}</dt><dd>{html.escape(text)}</dd>" for name, text in facts.items())
    return f'<dl class="sp-facts">{rows}</dl>'


def curves_of(state: RunState) -> str:
    """What training is followed by, over the steps, as SVG; nothing before there are two points."""
    charts = []
    for key, title in _shown(state).items():
        steps, values = series(state.log, key)
        if len(values) > 1:
            charts.append(
                chart(title.capitalize(), steps, values, None if key in STEADY else smoothed(values))
            )
    return f'<div class="sp-charts">{"".join(charts)}</div>' if charts else ""


def chart(title: str, steps: Sequence[int], values: Sequence[float], smooth: Sequence[float] | None) -> str:
    """One line chart; its colours follow the page's theme."""
    low, high = min(values), max(values)
    high = high if high > low else low + 1e-6
    first, last = steps[0], max(steps[-1], steps[0] + 1)

    def points(line: Sequence[float]) -> str:
        pairs = []
        for step, value in zip(steps, line, strict=True):
            x = MARGIN + (step - first) / (last - first) * (WIDTH - MARGIN - 8)
            y = 8 + (high - value) / (high - low) * (HEIGHT - 28)
            pairs.append(f"{x:.1f},{y:.1f}")
        return " ".join(pairs)

    lines = f'<polyline class="{"sp-raw" if smooth else "sp-line"}" points="{points(values)}"/>'
    if smooth:
        lines += f'<polyline class="sp-line" points="{points(smooth)}"/>'
    bottom = HEIGHT - 20
    said = f"{title}: {values[-1]:.4f} at step {steps[-1]}, lowest {low:.4f}"
    return (
        f'<figure class="sp-chart"><figcaption>{title}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(said)}">'
        f'<path d="M{MARGIN} 8V{bottom}H{WIDTH - 8}"/>{lines}'
        f'<text x="{MARGIN - 4}" y="14" text-anchor="end">{high:.3g}</text>'
        f'<text x="{MARGIN - 4}" y="{bottom}" text-anchor="end">{low:.3g}</text>'
        f'<text x="{MARGIN}" y="{HEIGHT - 6}">step {first}</text>'
        f'<text x="{WIDTH - 8}" y="{HEIGHT - 6}" text-anchor="end">{steps[-1]}</text></svg></figure>'
    )


def previews_of(state: RunState, address: Callable[[Path, str], str]) -> str:
    """Each prompt with and without the LoRA, or the sheet of a trainer that has neither.

    ``address(file, name)`` is where the page may load a file.
    """
    if state.sheet is None:
        return ""
    if not any(preview.picture_with for preview in state.previews):
        source = html.escape(address(state.sheet, f"{state.folder.name}-{state.preview_step}-sheet.png"))
        return f'<img style="max-width: 100%" src="{source}" alt="Previews of step {state.preview_step}">'
    if not any(preview.picture_without for preview in state.previews):
        rows = "".join(
            f"<tr><th>{html.escape(preview.prompt)}</th>{_cell(preview, address, state, index, True)}</tr>"
            for index, preview in enumerate(state.previews)
        )
        head = f"<tr><th>Step {state.preview_step}</th><th>Now</th></tr>"
        return f'<table class="sp-table sp-previews">{head}{rows}</table>'
    rows = "".join(
        f"<tr><th>{html.escape(preview.prompt)}</th>{_cell(preview, address, state, index, True)}"
        f"{_cell(preview, address, state, index, False)}</tr>"
        for index, preview in enumerate(state.previews)
    )
    head = f"<tr><th>Step {state.preview_step}</th><th>With the LoRA</th><th>Without</th></tr>"
    return f'<table class="sp-table sp-previews">{head}{rows}</table>'


def _cell(
    preview: Preview, address: Callable[[Path, str], str], state: RunState, index: int, lora: bool
) -> str:
    picture = preview.picture_with if lora else preview.picture_without
    sound = preview.sound_with if lora else preview.sound_without
    kind = "with" if lora else "without"
    parts = []
    if picture:
        name = f"{state.folder.name}-{state.preview_step}-{index}-{kind}"
        alt = html.escape(f"Spectrogram of “{preview.prompt}” {kind} the LoRA")
        parts.append(f'<img src="{html.escape(address(picture, f"{name}.png"))}" alt="{alt}">')
        if sound:
            source = html.escape(address(sound, f"{name}.wav"))
            parts.append(f'<audio controls preload="none" src="{source}"></audio>')
    return f"<td>{''.join(parts)}</td>"
