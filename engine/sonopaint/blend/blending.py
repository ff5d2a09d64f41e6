"""Sounds as sources of levels → new sounds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.clip import Clip
from sonoconvert.progress import Progress
from sonopaint.models.blend.file import BlendModel, read_blend, shipped_blend
from sonopaint.models.blend.network import CODE, WHOLE
from sonopaint.models.blend.pyramid import LEVELS as LEVELS
from sonopaint.models.blend.pyramid import fine_mel
from sonopaint.painters.windows import over_windows
from sonopaint.samplers.common import Denoise
from sonopaint.samplers.edm import SIGMA_DATA, EdmSettings, denoiser, invert_edm, sample_edm

STEPS = 18
SHORTEST_S, LONGEST_S = 0.1, 300.0
HEAVIEST = 1.5
SILENT = 1e-4  # peak
LOUDEST = 0.97  # of peaks; sounds are brought to it before they are taken apart
Codes = dict[str, Tensor]


@dataclass(frozen=True)
class Source:
    """What a level is taken from.

    weight: 0 leaves the level out, 1 takes it as it is, up to 1.5 exaggerates it. mix: how much of `other` in
    place of `clip`, 0 to 1.
    """

    clip: Clip
    weight: float = 1.0
    other: Clip | None = None
    mix: float = 0.0


@dataclass(frozen=True)
class Blend:
    """A result; notes: sentences on what was done to the sources. The clip carries `settings`, too."""

    clip: Clip
    settings: dict[str, Any]
    notes: tuple[str, ...] = ()


class Blender:
    """A model, ready to blend; one may serve many calls."""

    def __init__(self, model: BlendModel, codec: str | Path = "") -> None:
        if model.network.levels == (CODE,):
            raise SonopaintError(f"{model.name} has one code only, so it has no levels to blend.")
        self.model, self.space = model, model.representation(codec)

    @classmethod
    def load(cls, path: str | Path | None = None, *, codec: str | Path = "") -> Blender:
        """The shipped model, or another one. `codec`: folder of the weights that a model on EnCodec needs."""
        return cls(read_blend(path) if path else shipped_blend(), codec)

    @torch.no_grad()
    def blend(
        self,
        sources: Mapping[str, Source],
        *,
        seconds: float | None = None,
        seed: int = 0,
        count: int = 1,
        steps: int = STEPS,
        guidance: float = 1.0,
        invert: Clip | None = None,
        progress: Progress | None = None,
    ) -> list[Blend]:
        """`count` sounds of the coarse, the mid and the fine of sources, from the seeds `seed`, `seed` + 1 …

        sources: by LEVELS; what is missing is the first one that is there. seconds: of the result (default:
        as long as the source of the coarse); shorter sources go round, longer ones are cut. guidance: above
        1, the codes count for more. invert: a clip whose own noise is taken in place of the seed's, so that
        what is not changed stays nearer to it. Stereo where a source is; at the model's rate, as loud as the
        source of the coarse. `progress(share)` may raise Cancelled.

        Raises SonopaintError for silence, what is too short or long, and settings out of range.
        """
        settings = EdmSettings(steps=steps)
        _check(sources, seconds, count, steps, guidance, invert)
        notes: list[str] = []
        filled = _filled(sources, notes)
        first = filled["coarse"].clip
        length = self._length(first if seconds is None else None, seconds, notes)
        used = [(level, clip) for level, source in filled.items() for clip in _clips(source)]
        _notes(used, length / self.space.sample_rate, notes)
        channels = 2 if any(_is_stereo(clip) for _, clip in used) else 1
        codes = self._codes(filled, length, channels)
        noise = self._noise(length, channels, seed, count, invert, settings)
        weights = {level: source.weight for level, source in filled.items()}
        told = {
            "task": "blend", "model": self.model.name, "levels": {
                level: {"weight": source.weight, "mix": source.mix} for level, source in filled.items()
            },
            "seed": seed, "steps": steps, "guidance": guidance,
        }  # fmt: skip
        denoise = self._denoise(codes, weights, guidance)
        made: list[Blend] = []
        for number, one in enumerate(noise):  # one by one: so a seed gives the same samples in any company

            def tick(step: int, total: int, _: Tensor, number: int = number) -> None:
                if progress:
                    progress((number + 0.6 * step / total) / count)

            data = self.model.scaling.back(sample_edm(denoise, one, settings, callback=tick), SIGMA_DATA)
            made.append(self._result(data, length, first, told | {"seed": seed + number}, tuple(notes)))
        if progress:
            progress(1.0)
        return made

    def _length(self, first: Clip | None, seconds: float | None, notes: list[str]) -> int:
        """Samples of the result at the model's rate."""
        wanted = seconds if first is None else first.duration_s
        assert wanted is not None
        if wanted > LONGEST_S:
            notes.append(
                f"The source of the coarse lasts {wanted:.0f} s; its first {LONGEST_S:.0f} s are taken."
            )
            wanted = LONGEST_S
        return max(1, round(wanted * self.space.sample_rate))

    def _frames(self, length: int) -> int:
        """Frames of latents that the network works on."""
        return math.ceil(self.space.shape(length)[-1] / WHOLE) * WHOLE

    def _codes(self, filled: Mapping[str, Source], length: int, channels: int) -> Codes:
        """[channels, code, frames] by level."""
        pairs = [(level, clip) for level, source in filled.items() for clip in _clips(source)]
        levels_of = {id(clip): {name for name, other in pairs if other is clip} for _, clip in pairs}
        known = {
            id(clip): self.codes_of(clip, length, channels, sorted(levels_of[id(clip)])) for _, clip in pairs
        }
        found: Codes = {}
        for level, source in filled.items():
            found[level] = known[id(source.clip)][level]
            if source.other is not None and source.mix > 0:
                found[level] = torch.lerp(found[level], known[id(source.other)][level], source.mix)
        return found

    @torch.no_grad()
    def codes_of(self, clip: Clip, length: int, channels: int = 1, levels: Sequence[str] = LEVELS) -> Codes:
        """[channels, code, frames] by level, of a clip that is made `length` samples of the model's long."""
        heard = _around(_even(clip, channels), length / self.space.sample_rate)
        frames = self._frames(length)
        mel = latents = None
        if self.model.network.hears_mels:
            seconds = frames / self.space.frame_rate
            mel = torch.stack([fine_mel(_channel(heard, c), seconds) for c in range(channels)])
        else:
            latents = self._latents(heard, frames)
        return self.model.network.codes(mel, latents, frames, levels)

    def _latents(self, clip: Clip, frames: int) -> Tensor:
        """Scaled, [channels, C, frames]."""
        rows = [self.space.encode(_channel(clip, c)) for c in range(clip.num_channels)]
        data = self.model.scaling.scaled(torch.stack(rows), SIGMA_DATA)[..., :frames]
        return F.pad(data, (0, frames - data.shape[-1]), mode="replicate")

    def _noise(
        self, length: int, channels: int, seed: int, count: int, invert: Clip | None, settings: EdmSettings
    ) -> Tensor:
        """[count, channels, C, frames]; the channels of a sound share theirs."""
        frames, size = self._frames(length), self.space.shape(length)[0]
        if invert is None:
            drawn = [
                torch.randn(1, size, frames, generator=torch.Generator().manual_seed(seed + number))
                for number in range(count)
            ]
            return torch.stack(drawn).expand(-1, channels, -1, -1)
        heard = _around(_even(invert, channels), length / self.space.sample_rate)
        codes = self.codes_of(invert, length, channels)
        denoise = self._denoise(codes, dict.fromkeys(LEVELS, 1.0), 1.0)
        return invert_edm(denoise, self._latents(heard, frames), settings)[None]

    def _denoise(self, codes: Codes, weights: Mapping[str, float], guidance: float) -> Denoise:
        """What the sampler calls, for the codes' channels.

        D + (guidance − 1)(D − D of no codes) + Σ (weight − 1)(D − D without that level): at weight 0 the
        level is left out as in training, between 0 and 1 it leads by so much, above it is exaggerated.
        """
        network = self.model.network
        every = {k: v for k, v in codes.items() if weights[k] > 0}

        def told(without: str = "") -> list[Tensor]:
            return network.conditions({k: v * (k != without) for k, v in every.items()})

        # Every way of being told, and its share of the whole.
        ways: list[tuple[float, list[Tensor]]] = []
        for level in every:
            if weights[level] != 1:
                ways.append((1 - weights[level], told(level)))
        if guidance != 1:
            ways.append((1 - guidance, network.conditions({k: v * 0 for k, v in every.items()})))
        ways.append((1 - sum(share for share, _ in ways), told()))
        parts = [(share, windowed(self.model, conditions)) for share, conditions in ways]

        def denoise(x: Tensor, sigma: float) -> Tensor:
            return sum((share * part(x, sigma) for share, part in parts), torch.zeros_like(x))

        return denoise

    def _result(
        self, data: Tensor, length: int, first: Clip, facts: dict[str, Any], notes: tuple[str, ...]
    ) -> Blend:
        """The sound of latents [channels, C, frames], as loud as the first source."""
        count = self.space.shape(length)[-1]
        rows = [self.space.decode(one[..., :count], length).waveform for one in data]
        wave = torch.cat(rows) * (float(first.waveform.abs().max()) / LOUDEST)
        wave = wave * min(1.0, LOUDEST / max(float(wave.abs().max()), LOUDEST))
        return Blend(Clip(wave, self.space.sample_rate, facts), facts, notes)


def windowed(model: BlendModel, conditions: Sequence[Tensor]) -> Denoise:
    """The model's denoiser, told `conditions`, on sounds of any length.

    Windows are as long as what it learnt on, and averaged where they overlap.
    """
    sizes, frames = [c.shape[1] for c in conditions], conditions[-1].shape[-1]
    beside = torch.cat([c.repeat_interleave(frames // c.shape[-1], -1) for c in conditions], 1)

    def of_network(x: Tensor, time: Tensor) -> Tensor:
        count = x.shape[1]

        def part(both: Tensor) -> Tensor:
            coarse, mid, fine = both[:, count:].split(sizes, 1)
            return model.network(both[:, :count], time, [coarse[..., ::4], mid[..., ::2], fine])

        both = torch.cat([x, beside], 1)
        return over_windows(part, both, model.frames // WHOLE, overlap=0.5, cell_in=WHOLE, cell_out=WHOLE)

    return denoiser(of_network, SIGMA_DATA)


def _check(
    sources: Mapping[str, Source],
    seconds: float | None,
    count: int,
    steps: int,
    guidance: float,
    invert: Clip | None,
) -> None:
    unknown = [name for name in sources if name not in LEVELS]
    if unknown or not sources:
        said = f"no level {unknown[0]!r}" if unknown else "no source"
        raise SonopaintError(f"There is {said}; give one or more of {', '.join(LEVELS)}.")
    for level, source in sources.items():
        if not 0 <= source.weight <= HEAVIEST:
            raise SonopaintError(
                f"The weight of the {level} must be from 0 to {HEAVIEST:g}, not {source.weight:g}."
            )
        if not 0 <= source.mix <= 1:
            raise SonopaintError(f"The mix of the {level} must be from 0 to 1, not {source.mix:g}.")
        if source.mix > 0 and source.other is None:
            raise SonopaintError(f"The {level} has a mix of {source.mix:g}, but no other source to mix in.")
        for clip in _clips(source):
            _heard(clip, f"source of the {level}")
    if not any(source.weight for source in sources.values()) and len(sources) == len(LEVELS):
        raise SonopaintError("All weights are 0, so nothing is left to blend; raise one.")
    if seconds is not None and not SHORTEST_S <= seconds <= LONGEST_S:
        raise SonopaintError(
            f"{setting('seconds')} must be from {SHORTEST_S:g} to {LONGEST_S:g}, not {seconds:g}."
        )
    if not 1 <= count <= 64:
        raise SonopaintError(f"{setting('count')} must be from 1 to 64, not {count}.")
    if not 2 <= steps <= 200:
        raise SonopaintError(f"{setting('steps')} must be from 2 to 200, not {steps}.")
    if not 0 <= guidance <= 5:
        raise SonopaintError(f"{setting('guidance')} must be from 0 to 5, not {guidance:g}.")
    if invert is not None:
        _heard(invert, "sound to invert")
        if count > 1:
            raise SonopaintError("An inverted sound has one noise and makes one result; ask for one.")


def _heard(clip: Clip, called: str) -> None:
    if clip.duration_s < SHORTEST_S:
        raise SonopaintError(
            f"The {called} lasts {clip.duration_s:.2g} s; give one of at least {SHORTEST_S:g} s."
        )
    peak = float(clip.waveform.abs().max())
    if not math.isfinite(peak):
        raise SonopaintError(f"The {called} holds samples that are no numbers; repair or re-export it.")
    if peak < SILENT:
        raise SonopaintError(f"The {called} is silent; give a sound that can be heard.")


def _filled(sources: Mapping[str, Source], notes: list[str]) -> dict[str, Source]:
    """A source for every level; the first one where there is none."""
    first = next(sources[level] for level in LEVELS if level in sources)
    missing = [level for level in LEVELS if level not in sources]
    if missing and len(sources) > 1:
        verb = "are" if len(missing) > 1 else "is"
        notes.append(f"The {' and the '.join(missing)} {verb} the first source's.")
    return {level: sources.get(level, replace(first, weight=1.0)) for level in LEVELS}


def _clips(source: Source) -> list[Clip]:
    return [source.clip] + ([source.other] if source.other is not None and source.mix > 0 else [])


def _notes(used: Sequence[tuple[str, Clip]], seconds: float, notes: list[str]) -> None:
    """What is done to sources of other lengths and numbers of channels."""
    told: set[int] = set()
    for level, clip in used:
        if id(clip) in told:
            continue
        told.add(id(clip))
        if clip.duration_s < 0.98 * seconds:
            notes.append(f"The source of the {level} lasts {clip.duration_s:.2f} s; it goes round.")
        elif level != "coarse" and clip.duration_s > seconds + 0.05:
            notes.append(f"Of the source of the {level}, the first {seconds:.2f} s are taken.")
        if clip.num_channels > 2:
            notes.append(f"Of the source of the {level}, the mean of {clip.num_channels} channels is taken.")


def _is_stereo(clip: Clip) -> bool:
    return clip.num_channels == 2 and not torch.equal(clip.waveform[0], clip.waveform[1])


def _even(clip: Clip, channels: int) -> Clip:
    """Of so many channels, and at the level that the model learnt on."""
    if clip.num_channels != channels:
        clip = clip.mono()
    wave = clip.waveform.float() * (LOUDEST / max(float(clip.waveform.abs().max()), SILENT))
    return replace(clip, waveform=wave.expand(channels, -1), exact=None)


def _around(clip: Clip, seconds: float) -> Clip:
    """Cut, or begun anew until it is long enough."""
    samples = max(1, math.ceil(seconds * clip.sample_rate))
    times = -(-samples // clip.num_samples)
    return replace(clip, waveform=clip.waveform.repeat(1, times)[:, :samples])


def _channel(clip: Clip, number: int) -> Clip:
    return replace(clip, waveform=clip.waveform[number : number + 1])
