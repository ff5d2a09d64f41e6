"""Heal: what is marked, or the clicks and dropouts that are found, repaired without words."""

from __future__ import annotations

import logging
from typing import Any

from comfy_api.latest import io

from sonoconvert.edits.region import Region
from sonoconvert.files.clip import Clip
from sonopaint.heal.detect import find
from sonopaint.heal.heal import METHODS, HealSettings, heal
from sonopaint.heal.marks import GRID, marks_of
from sonopaint.models.bridge import STEPS
from sonopaint_comfyui import kinds
from sonopaint_comfyui.host import told
from sonopaint_comfyui.kinds import PictureInfo, schema
from sonopaint_comfyui.sounds import audio_of, clips_of

logger = logging.getLogger(__name__)


class Heal(io.ComfyNode):
    """Repairs a recording where a region says, or where it clicks or drops out."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "SonopaintHeal",
            "Heal",
            description="Repairs what is marked in a recording from what is around it, without words and "
            "without a model: a cough, a gap, a band. Without a region the clicks and dropouts are found. "
            "Everything else stays as it is, to the sample.",
            search_aliases=["repair audio", "declick", "restore", "remove click", "fill gap", "denoise"],
            inputs=[
                io.Audio.Input("audio", tooltip="The recording."),
                io.Combo.Input(
                    "method",
                    options=list(METHODS),
                    tooltip="auto tries what suits each mark; bridge is the learned one.",
                ),
                io.Int.Input("steps", default=STEPS, min=1, max=64, tooltip="Of the learned bridge."),
                io.Int.Input(
                    "seed", default=0, min=0, max=0xFFFFFFFF, control_after_generate=True,
                    tooltip="Other seeds are other takes.",
                ),
                kinds.Region.Input(
                    "region", optional=True, tooltip="What to heal; nothing: what clicks and drops out."
                ),
                kinds.Format.Input(
                    "format", optional=True, tooltip="Of the spectrogram on which a brush was painted."
                ),
            ],
            outputs=[io.Audio.Output(), io.String.Output(display_name="done")],
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        audio: Any,
        method: str,
        steps: int,
        seed: int,
        region: Region | None = None,
        format: PictureInfo | None = None,
    ) -> io.NodeOutput:
        clips: list[Clip] = []
        lines: list[str] = []
        grid = format.format if format else GRID
        for index, (clip, progress) in enumerate(told(clips_of(audio))):
            marks = find(clip) if region is None else marks_of(region, clip, grid)
            if not marks:
                lines.append("no click and no dropout was found")
                clips.append(clip)
                continue
            healed = heal(clip, marks, HealSettings(method, seed + index, steps), progress=progress)
            for note in healed.notes:
                logger.warning("%s", note)
            lines += [f"{mark.box(clip.sample_rate)} by {how}" for mark, how in healed.done]
            lines += healed.notes
            clips.append(healed.clip)
        return io.NodeOutput(audio_of(clips), "\n".join(lines))


NODES = [Heal]
