"""Blend: the coarse of one sound, the mid of another, the fine of a third."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from sonopaint.blend.blending import HEAVIEST, LONGEST_S, Blender, Source
from sonopaint_comfyui.host import told
from sonopaint_comfyui.kinds import schema
from sonopaint_comfyui.sounds import audio_of, clips_of

MOST = 16


class BlendSounds(io.ComfyNode):
    """A new sound of the levels of up to three."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        def weight(level: str) -> io.Float.Input:
            return io.Float.Input(
                f"{level}_weight", default=1.0, min=0.0, max=HEAVIEST, step=0.05,
                tooltip=f"How much of the {level}: 0 leaves it out, 1 takes it as it is, more exaggerates.",
            )  # fmt: skip

        return schema(
            "SonopaintBlendSounds",
            "Blend Sounds",
            description="Takes sounds apart by scale and makes a new one: of the first what changes by the "
            "half second, of the second by the quarter, of the third by the eighth. What is not connected is "
            "the first one's.",
            search_aliases=["mix sounds", "morph audio", "cross synthesis", "layer", "neural sampler"],
            inputs=[
                io.Audio.Input("coarse", tooltip="Whose coarse is taken; of a batch the first one."),
                weight("coarse"),
                weight("mid"),
                weight("fine"),
                io.Float.Input(
                    "seconds", default=0.0, min=0.0, max=LONGEST_S, step=0.1,
                    tooltip="How long; 0: as long as the first sound.",
                ),
                io.Int.Input("count", default=1, min=1, max=MOST, tooltip="So many, each from its own seed."),
                io.Int.Input(
                    "seed", default=0, min=0, max=0xFFFFFFFF, control_after_generate=True,
                    tooltip="Other seeds are other blends.",
                ),
                io.Audio.Input("mid", optional=True, tooltip="Whose mid is taken; nothing: the first one's."),
                io.Audio.Input(
                    "fine", optional=True, tooltip="Whose fine is taken; nothing: the first one's."
                ),
            ],
            outputs=[io.Audio.Output(), io.String.Output(display_name="done")],
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        coarse: Any,
        coarse_weight: float,
        mid_weight: float,
        fine_weight: float,
        seconds: float,
        count: int,
        seed: int,
        mid: Any = None,
        fine: Any = None,
    ) -> io.NodeOutput:
        first = clips_of(coarse)[0]
        given = (("coarse", coarse, coarse_weight), ("mid", mid, mid_weight), ("fine", fine, fine_weight))
        sources = {
            level: Source(first if audio is None else clips_of(audio)[0], weight)
            for level, audio, weight in given
        }
        for blender, progress in told([Blender.load()]):
            made = blender.blend(sources, seconds=seconds or None, seed=seed, count=count, progress=progress)
        return io.NodeOutput(audio_of([one.clip for one in made]), "\n".join(made[0].notes))


NODES = [BlendSounds]
