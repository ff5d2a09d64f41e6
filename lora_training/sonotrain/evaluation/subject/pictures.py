"""The judge of pictures: DINO, CLIP-I, CLIP-T, Intra- and Inter-LPIPS, as DreamBooth and Uni-DAD measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from sonotrain.evaluation.bench import measures
from sonotrain.evaluation.bench.nouns import Shot
from sonotrain.evaluation.metrics import cosine
from sonotrain.evaluation.subject.folders import Subject
from sonotrain.evaluation.subject.vision import load_clip, load_dino, load_lpips, read_pictures


class PictureJudge:
    """Needs the user's DINO, CLIP, AlexNet and LPIPS weights; SonopaintError says which is missing."""

    def __init__(
        self,
        dino: str = "",
        clip: str = "",
        alexnet: str = "",
        lpips: str = "",
        *,
        device: str = "cpu",
    ) -> None:
        self.dino, self.clip = load_dino(dino, device), load_clip(clip, device)
        self.lpips = load_lpips(alexnet, lpips)

    def about(self) -> str:
        """Which networks gave the figures."""
        return "identity: DINO; CLIP-I and text (CLIP-T): CLIP; intra and inter: LPIPS 0.1 with AlexNet, 224²"

    def measure(self, reference: Subject, shots: Sequence[Shot], files: Sequence[Path]) -> dict[str, Any]:
        """The figures of one method for one subject. CLIP-T's text keeps the token."""
        chosen = [index for index, shot in enumerate(shots) if shot.number]
        prompts = [shots[index].number for index in chosen]
        made = read_pictures([files[index] for index in chosen])
        figures = self._compared(reference, made, prompts)
        texts = self.clip.texts([shots[index].text for index in chosen])
        return figures | {"text": cosine(self.clip(made), texts).mean().item()}

    def together(self, references: Sequence[Any], made: Mapping[str, Sequence[Path]]) -> dict[str, Any]:
        """Every figure is of one subject alone."""
        return {}

    def real(self, reference: Subject) -> dict[str, Any]:
        """What pictures of the subject that nobody learnt from score."""
        return self._compared(reference, read_pictures(reference.held_out), [1] * len(reference.held_out))

    def _compared(self, subject: Subject, made: Tensor, prompts: Sequence[int]) -> dict[str, Any]:
        originals = read_pictures(subject.files)
        features, reference = self.dino(made), self.dino(originals)
        figures = measures.cell(features, reference, prompts, self.lpips.distances(made, made))
        figures["clip_i"] = measures.by_prompt(self.clip(made), self.clip(originals), prompts)
        return figures | measures.copied(
            features, reference, measures.embedding_distances, measures.COPIED_PICTURE
        )
