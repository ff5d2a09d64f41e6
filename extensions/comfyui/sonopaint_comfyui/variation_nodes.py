"""Variations of a recording: of what any model in the graph made, the ones that are good and differ."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from sonopaint.variations.given import chosen_of
from sonopaint.variations.make import Maker
from sonopaint.variations.protocol import KEPT, MAX_COUNT, Ask, Keep
from sonopaint_comfyui.host import told
from sonopaint_comfyui.kinds import schema
from sonopaint_comfyui.sounds import audio_of, clips_of

COUNT = 4


class ChooseVariations(io.ComfyNode):
    """Throws copies and drifts away and takes the most different of the rest."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        def kept(name: str, what: str) -> io.Boolean.Input:
            return io.Boolean.Input(f"keep_{name}", default=name in KEPT, tooltip=what)

        return schema(
            "SonopaintChooseVariations",
            "Choose Variations",
            description="Of many sounds that any model made of a recording, takes those that are the same "
            "thing and not the same file: silence, copies and what has become something else are left out, "
            "and the most different of the rest are taken. Each keeps of the recording what is asked for.",
            search_aliases=["soundbank", "footsteps", "batch of variations", "pick best", "round robin"],
            inputs=[
                io.Audio.Input("reference", tooltip="The recording. Its rate, channels and length are kept."),
                io.Audio.Input("candidates", tooltip="A batch: half as many again as are wanted, at least."),
                io.Int.Input("count", default=COUNT, min=1, max=MAX_COUNT, tooltip="How many are wanted."),
                kept("loudness", "As loud as the recording, to 0.1 LU."),
                kept("onset", "Beginning where the recording does, to the sample."),
                kept("envelope", "As loud as the recording at every moment."),
                kept("pitch", "The recording's fundamental, where there is one."),
                io.Boolean.Input("choose", default=True, tooltip="Off: the first ones, good or not."),
            ],
            outputs=[io.Audio.Output(), io.String.Output(display_name="figures")],
        )

    @classmethod
    def execute(
        cls,
        reference: Any,
        candidates: Any,
        count: int,
        keep_loudness: bool,
        keep_onset: bool,
        keep_envelope: bool,
        keep_pitch: bool,
        choose: bool,
    ) -> io.NodeOutput:
        clips = clips_of(candidates)
        keep = Keep(True, keep_loudness, keep_onset, keep_envelope, keep_pitch)
        [(source, progress)] = told(clips_of(reference)[:1])
        maker = chosen_of(
            clips, source, Ask(count=count, keep=keep), choose=choose,
            progress=lambda step, total, _: progress(step / max(total, 1)),
        )  # fmt: skip
        return io.NodeOutput(audio_of([one.clip for one in maker.chosen()]), told_of(maker))


def told_of(maker: Maker) -> str:
    """A line for each variation, which candidate it was, and what there is to say of all."""
    chosen = maker.chosen()
    all_ = maker.figures(chosen)
    lines = [
        f"{number}: candidate {one.seed + 1}, likeness {one.figures.get('likeness', 0):.3f}"
        f"{f', {one.why}' if one.why else ''}"
        for number, one in enumerate(chosen, 1)
    ]
    left = ", ".join(f"{count} {why}" for why, count in all_["left_out"].items()) or "none"
    lines.append(
        f"diversity {all_.get('diversity', 0):.3f}, alignment {all_.get('alignment', 0):.3f}; "
        f"left out of {all_['candidates']}: {left}"
    )
    return "\n".join(lines + maker.notes(chosen))


NODES = [ChooseVariations]
