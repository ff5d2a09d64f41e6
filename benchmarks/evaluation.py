"""Does the corpus classifier's Fréchet distance grow with what is wrong with a sound?

    python benchmarks/evaluation.py

Compares corpus clips with other corpus clips of the same kinds, as they are and spoilt: with white noise,
without their high frequencies, silent, all the same. Prints a Markdown table.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from sonotrain.data import foley
from sonotrain.evaluation import metrics
from sonotrain.evaluation.embeddings import load_embedding
from sonotrain.evaluation.frechet import distance_of

KINDS = ("rain", "siren", "dog_bark", "piano", "gunshot", "bird_song")
REAL, MADE = 12, 10  # clips of each kind
NOISES_DB = (-60, -40, -20, 0)  # noise beside the clip's own level
CUTS_HZ = (8000, 4000, 2000, 1000)


def clips(count: int, seed: int) -> torch.Tensor:
    """[6 · count, samples] at 32 kHz, kind after kind."""
    parts = [
        foley.batch(count, 100 * seed + index, [kind], relations=[("single", 1.0)]).waveforms
        for index, kind in enumerate(KINDS)
    ]
    return torch.cat(parts)


def spoilt(sounds: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """Names and sounds, from nothing wrong to everything."""
    yield "as they are", sounds
    level = sounds.square().mean(1, keepdim=True).sqrt()
    noise = torch.randn(sounds.shape, generator=torch.Generator().manual_seed(0))
    for decibels in NOISES_DB:
        yield f"white noise at {decibels} dB", sounds + 10 ** (decibels / 20) * level * noise
    spectrum = torch.fft.rfft(sounds)
    frequencies = torch.linspace(0, foley.SAMPLE_RATE / 2, spectrum.shape[1])
    for hertz in CUTS_HZ:
        yield (
            f"nothing above {hertz} Hz",
            torch.fft.irfft(spectrum * (frequencies < hertz), n=sounds.shape[1]),
        )
    yield "silence", torch.zeros_like(sounds)
    yield "all the first clip", sounds[:1].repeat(len(sounds), 1)


def main() -> None:
    judge = load_embedding("classifier")

    def hear(sounds: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        parts = [judge(part) for part in sounds.split(8)]
        logits = [part.logits for part in parts if part.logits is not None]
        return torch.cat([part.clip for part in parts]), torch.cat(logits)

    real, _ = hear(clips(REAL, 1))
    labels = [kind for kind in KINDS for _ in range(MADE)]
    print(f"{len(labels)} clips against {len(real)} others, {judge.title} {judge.hash}\n")
    print("| clips | FID ↓ | top-1 ↑ | IS ↑ | diversity ↑ |\n|---|---|---|---|---|")
    for name, sounds in spoilt(clips(MADE, 2)):
        features, logits = hear(sounds)
        share = metrics.top1(metrics.guesses(logits, judge.kinds), labels)
        score, _ = metrics.inception_score(logits, splits=1)
        distance, spread = distance_of(features, real), abs(metrics.diversity(features))
        print(f"| {name} | {distance:.1f} | {share:.0%} | {score:.2f} | {spread:.2f} |")


if __name__ == "__main__":
    main()
