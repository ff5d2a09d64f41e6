"""Match and edit: the knobs of a synthesiser that make a sound, and the synthesiser to turn them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from comfy_api.latest import io

from sonoconvert.errors import SonopaintError
from sonopaint.match.matching import STEPS, in_words, match
from sonopaint.match.sheet import LONGEST_S, Sheet
from sonopaint.match.synths import CORPUS, get_synth
from sonopaint_comfyui.host import told
from sonopaint_comfyui.kinds import schema
from sonopaint_comfyui.sounds import audio_of, clips_of

Match = io.Custom("SONOPAINT_MATCH")
NAMES = [*CORPUS, "arpeggio"]
AS_MATCHED = "as matched"


class MatchSound(io.ComfyNode):
    """Finds the parameters of a synthesiser that make a recording."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "SonopaintMatchSound",
            "Match Sound",
            description="Finds the knobs of a synthesiser that make this sound: bell, snare, engine, siren, "
            "wind … Play Synth turns them. Of a long recording the loudest event is taken.",
            search_aliases=["sound matching", "resynthesis", "analyse audio", "find preset"],
            inputs=[
                io.Audio.Input("audio", tooltip="The recording; of a batch the first one."),
                io.Combo.Input(
                    "synth", options=["auto", *NAMES],
                    tooltip="auto tries the likely ones and keeps the nearest.",
                ),
                io.Int.Input(
                    "steps", default=STEPS, min=0, max=100,
                    tooltip="Of the refinement; 0: the first guess stays.",
                ),
                io.Int.Input("seed", default=0, min=0, max=0xFFFFFFFF, tooltip="Of noise and random starts."),
                io.Float.Input(
                    "colour", default=0.0, min=0.0, max=1.0, step=0.05,
                    tooltip="How much of the original's colour that the synth can't say.",
                ),
            ],
            outputs=[
                io.Audio.Output(),
                Match.Output(display_name="match"),
                io.String.Output(display_name="how near"),
            ],
        )  # fmt: skip

    @classmethod
    def execute(cls, audio: Any, synth: str, steps: int, seed: int, colour: float) -> io.NodeOutput:
        for clip, progress in told(clips_of(audio)[:1]):
            found = match(clip, synth, count=steps, seed=seed, progress=progress)
        sheet = found.sheet
        lines = [f"{sheet.synth.title}: {sheet.relative:.0%} away, {in_words(sheet.relative or 0)}"]
        lines += [f"{p.name} = {sheet.values[p.name]:.4g} {p.unit}".rstrip() for p in sheet.synth.parameters]
        lines += found.notes
        return io.NodeOutput(audio_of([sheet.play(colour)]), sheet, "\n".join(lines))


class PlaySynth(io.ComfyNode):
    """Plays a match with its knobs turned, or a synthesiser."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "SonopaintPlaySynth",
            "Play Synth",
            description="Plays a match with its knobs turned, or a synthesiser by its own knobs.",
            search_aliases=["synthesizer", "sound effect generator", "procedural audio", "play match"],
            inputs=[
                _synth_input(),
                Match.Input("match", optional=True, tooltip="From Match Sound; for “as matched”."),
                io.Float.Input(
                    "seconds", default=0.0, min=0.0, max=LONGEST_S, step=0.1, optional=True,
                    tooltip="How long; 0: as the match, or two seconds.",
                ),
                io.Int.Input(
                    "seed", default=0, min=0, max=0xFFFFFFFF, control_after_generate=True, optional=True,
                    tooltip="Of the noise; 0: the match's own.",
                ),
                io.Float.Input(
                    "colour", default=0.0, min=0.0, max=1.0, step=0.05, optional=True,
                    tooltip="How much of the original's colour that the synth can't say.",
                ),
            ],
            outputs=[io.Audio.Output(), Match.Output(display_name="match")],
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        synth: Any,
        match: Sheet | None = None,
        seconds: float = 0.0,
        seed: int = 0,
        colour: float = 0.0,
    ) -> io.NodeOutput:
        knobs = dict(synth) if isinstance(synth, dict) else {"synth": synth}
        name = str(knobs.pop("synth"))
        if name == AS_MATCHED:
            if match is None:
                raise SonopaintError("Connect a match, or choose a synth whose knobs are to be played.")
            sheet = match.changed(str(knobs.get("changes") or "").split())
        else:
            chosen = get_synth(name)
            sheet = Sheet(chosen, chosen.values(chosen.theta_of(knobs)), chosen.seconds)
        if seconds:
            sheet = replace(sheet, seconds=float(seconds))
        if seed:
            sheet = replace(sheet, seed=int(seed))
        return io.NodeOutput(audio_of([sheet.play(colour)]), sheet)


def _synth_input() -> Any:
    """Which synthesiser, with its knobs below; only its name where ComfyUI knows no such input."""
    tooltip = "as matched: the connected match, with changes as in pitch=+3st; else a synth's knobs."
    if not hasattr(io, "DynamicCombo"):
        return io.Combo.Input("synth", options=[AS_MATCHED, *NAMES], tooltip=tooltip)
    changes = io.String.Input(
        "changes",
        default="",
        tooltip="What is turned: pitch=+3st decay=2x rate=+10% pitch=440.",
    )
    options = [io.DynamicCombo.Option(AS_MATCHED, [changes])]
    for name in NAMES:
        knobs = [
            io.Float.Input(
                p.name, default=p.default, min=p.low, max=p.high, step=_step(p.low, p.high),
                tooltip=f"{p.unit + '; ' if p.unit else ''}higher: {p.says}.",
            )
            for p in get_synth(name).parameters
        ]  # fmt: skip
        options.append(io.DynamicCombo.Option(name, knobs))
    return io.DynamicCombo.Input("synth", options=options, tooltip=tooltip)


def _step(low: float, high: float) -> float:
    """A widget's step: about a thousandth of its range, a power of ten."""
    return float(10 ** round(math.log10((high - low) / 1000)))


NODES = [MatchSound, PlaySynth]
