"""The PVT dataset on disk: shards of curves and representations, made by several processes, resumable.

dataset.json says how it was made; shard-00000.safetensors … hold of each clip `pitch` (Hz, 0 = none) and
`velocity` float32 [N, T] at 62.5 values a second, `kind` uint8 [N] (which instrument), a tensor [N, …] for
each representation, fp16 or int16 for codes, and of the clips that are not learnt from `audio` int16.
Safetensors keep the shapes in their header and are read clip by clip (the document's lesson, § 3.3.3: neither
on the fly nor compressed).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sonoconvert.checkpoints.files import read_tensors, write_tensors
from sonoconvert.errors import SonopaintError, setting
from sonoconvert.files.clip import Clip
from sonoconvert.representations.protocol import Representation
from sonopaint.models.jingles.quantiser import Quantiser, fit
from sonopaint.models.jingles.spaces import SPACES, is_discrete, open_space
from sonotrain.data.pvt.instruments import INSTRUMENTS, render
from sonotrain.data.pvt.melodies import Melodies, curves_of
from sonotrain.data.pvt.soundfont import PROGRAMS, SoundFont, system_soundfont
from sonotrain.files.json_files import read_json, write_json
from sonotrain.files.options import option
from sonotrain.files.pace import Pace
from sonotrain.files.processes import several
from sonotrain.files.tensors import keep as keep_file
from sonotrain.files.tensors import rows_in

logger = logging.getLogger(__name__)

SHARD = 100  # clips
HELD = 5  # of so many clips the last one is not learnt from
RATE = 32_000  # of the kept audio
QUANTISER = "quantiser.safetensors"
OWN, AUTO = "own", "auto"


@dataclass(frozen=True)
class PvtOptions:
    clips: int = option(2000, "number of clips; a fifth of them is held out")
    seconds: float = option(5.12, "length of a clip (the document: 8)")
    spaces: tuple[str, ...] = option(("latents",), f"representations: {', '.join(SPACES)}", metavar="NAME")
    midi: str = option("", "folder of MIDI files with melodies (without one they are generated)")
    instruments: tuple[str, ...] = option(("piano", "violin", "trumpet"), "which play", metavar="NAME")
    soundfont: str = option(
        OWN, "own: the corpus's instruments; auto: the system's soundfont; or a .sf2 file (FluidSynth)"
    )
    codec: str = option("", "folder of EnCodec's weights, for encodec and encodec-codes")
    classes: int = option(256, "of the quantiser that `codes` are made with")
    seed: int = option(0, "seed of melodies, velocities and instruments")
    workers: int = option(1, "processes", free=True)

    def __post_init__(self) -> None:
        if self.clips < 10 or self.workers < 1 or not 1 <= self.seconds <= 60:
            raise SonopaintError(
                f"A dataset has {setting('clips')} of 10 or more, {setting('seconds')} from 1 to 60, and "
                f"{setting('workers')} of 1 or more."
            )
        if wrong := [name for name in self.spaces if name not in SPACES] or not self.spaces:
            said = f"no space {wrong[0]!r}" if isinstance(wrong, list) else "no space"
            raise SonopaintError(f"There is {said}; choose from {', '.join(SPACES)}.")
        known = INSTRUMENTS if self.soundfont == OWN else PROGRAMS
        if wrong_names := [name for name in self.instruments if name not in known]:
            raise SonopaintError(
                f"There is no instrument {wrong_names[0]!r} here; choose from {', '.join(known)}."
            )


def build(folder: str | Path, options: PvtOptions) -> int:
    """Makes what is missing of the dataset in `folder`; the number of clips that were made now.

    SonopaintError where the folder holds one of other options, or a representation is not to be had.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    kept = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(options).items()}
    if options.soundfont == AUTO:
        found = system_soundfont()
        kept["soundfont"] = str(found) if found else OWN
        if not found:
            logger.warning("the system has no soundfont; the corpus's own instruments play")
    _same_options(folder, kept)
    if "codes" in options.spaces:
        _own_quantiser(folder, kept)
    jobs = [
        (str(folder), kept, number)
        for number in range(-(-options.clips // SHARD))
        if rows_in(folder / _name(number), "kind") != _wanted(options.clips, number)
    ]
    wanted = sum(_wanted(options.clips, number) for *_, number in jobs)
    logger.info("%d of %d clips are there", options.clips - wanted, options.clips)
    if not jobs:
        return 0
    pace, made = Pace(), 0
    with several(min(options.workers, len(jobs))) as run:
        for count in run(_make_shard, jobs):
            made += count
            logger.info("%d of %d clips, %s left", made, wanted, pace.left(made, wanted - made))
    return made


class PvtDataset:
    """A dataset in one of its spaces. Clips are read when they are asked for.

    learnt, held: numbers of the clips to learn from, and of the others.
    """

    def __init__(self, folder: str | Path, space: str) -> None:
        self.folder, self.space = Path(folder), space
        settings = self.folder / "dataset.json"
        if not settings.is_file():
            raise SonopaintError(
                f'{folder} holds no dataset of melodies; make one with "sonotrain jingles dataset".'
            )
        self.settings: dict[str, Any] = read_json(settings)
        if space not in self.settings["spaces"]:
            raise SonopaintError(
                f"{folder} has no {space}, only {', '.join(self.settings['spaces'])}; make it anew with it."
            )
        paths = sorted(self.folder.glob("shard-*.safetensors"))
        try:
            self._files = [safe_open(str(path), framework="pt") for path in paths]
            self._data = [file.get_slice(space) for file in self._files]
            for name in ("pitch", "velocity", "kind"):
                setattr(self, name, torch.cat([file.get_tensor(name) for file in self._files]))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise SonopaintError(
                f'{folder} is damaged ({error}); run "sonotrain jingles dataset" again.'
            ) from error
        count = len(self.kind)
        self.learnt = [i for i in range(count) if i % HELD != HELD - 1]
        self.held = [i for i in range(count) if i % HELD == HELD - 1]

    pitch: Tensor  # [N, T] Hz, 0 = none
    velocity: Tensor  # [N, T]
    kind: Tensor  # [N]

    @property
    def instruments(self) -> tuple[str, ...]:
        return tuple(self.settings["instruments"])

    @property
    def seconds(self) -> float:
        return float(self.settings["seconds"])

    def data(self, clips: Sequence[int]) -> Tensor:
        """[B, …] of the space: float32, or int64 codes."""
        rows = torch.stack([self._data[i // SHARD][i % SHARD] for i in clips])
        return rows.float() if rows.is_floating_point() else rows.long()

    def audio(self, clips: Sequence[int]) -> Tensor:
        """Float32 [B, samples] at 32 kHz of held-out clips."""
        kept = [self._files[i // SHARD].get_slice("audio")[(i % SHARD) // HELD] for i in clips]
        return torch.stack(kept).float() / 32767

    def curves(self, clips: Sequence[int], count: int, rate: float) -> tuple[Tensor, Tensor, Tensor]:
        """pitch and velocity [B, count] and kinds [B, K, count], at `rate` values a second."""
        own = self.pitch.shape[1]
        stored = own / self.seconds
        places = ((torch.arange(count) + 0.5) * stored / rate - 0.5 + 1e-6).round().long().clamp(0, own - 1)
        chosen = torch.as_tensor(list(clips))
        active = torch.nn.functional.one_hot(self.kind[chosen].long(), len(self.instruments)).float()
        return (
            self.pitch[chosen][:, places], self.velocity[chosen][:, places],
            active[..., None].expand(-1, -1, count),
        )  # fmt: skip

    def quantiser(self) -> Quantiser | None:
        path = self.folder / QUANTISER
        return Quantiser(read_tensors(path)["books"]) if path.is_file() else None


def notes_and_sound(
    kept: dict[str, Any], number: int, melodies: Melodies, font: SoundFont | None
) -> tuple[np.ndarray, np.ndarray, int, Tensor]:
    """Pitch, velocity, instrument and sound [samples] of clip `number`, which hangs on the seed alone."""
    rng = np.random.default_rng((kept["seed"], number))
    seconds, names = kept["seconds"], kept["instruments"]
    held = number % HELD == HELD - 1
    kind = int(rng.integers(len(names))) if held else number % len(names)
    notes = melodies.draw(seconds, rng)
    sound = font.render(names[kind], notes, seconds) if font else render(names[kind], notes, seconds, rng)
    return (*curves_of(notes, seconds), kind, sound)


def _make_shard(job: tuple[str, dict[str, Any], int]) -> int:
    folder, kept, shard = Path(job[0]), job[1], job[2]
    spaces = {name: _open(name, folder, kept) for name in kept["spaces"]}
    melodies = Melodies(kept["midi"])
    font = None if kept["soundfont"] == OWN else SoundFont(kept["soundfont"])
    columns: dict[str, list[Tensor]] = {}

    def keep(name: str, value: Tensor) -> None:
        columns.setdefault(name, []).append(value)

    first = shard * SHARD
    for number in range(first, first + _wanted(kept["clips"], shard)):
        pitch, velocity, kind, sound = notes_and_sound(kept, number, melodies, font)
        keep("pitch", torch.from_numpy(pitch))
        keep("velocity", torch.from_numpy(velocity))
        keep("kind", torch.tensor(kind, dtype=torch.uint8))
        for name, space in spaces.items():
            data = space.encode(Clip(sound[None], RATE))
            keep(name, data.short() if is_discrete(name) else data.half())
        if number % HELD == HELD - 1:
            keep("audio", (sound.clamp(-1, 1) * 32767).round().short())
    if font:
        font.close()
    keep_file(folder / _name(shard), {name: torch.stack(rows) for name, rows in columns.items()})
    return len(columns["kind"])


def _open(name: str, folder: Path, kept: dict[str, Any]) -> Representation:
    path = folder / QUANTISER
    quantiser = Quantiser(read_tensors(path)["books"]) if path.is_file() else None
    return open_space(name, codec=kept["codec"], quantiser=quantiser)


def _own_quantiser(folder: Path, kept: dict[str, Any]) -> None:
    """Learnt once, from the latents of the first clips."""
    path = folder / QUANTISER
    if path.is_file():
        return
    latents, melodies = open_space("latents"), Melodies(kept["midi"])
    font = None if kept["soundfont"] == OWN else SoundFont(kept["soundfont"])
    made = []
    for number in range(min(kept["clips"], 2 * SHARD)):
        sound = notes_and_sound(kept, number, melodies, font)[-1]
        made.append(latents.encode(Clip(sound[None], RATE)))
    if font:
        font.close()
    points = torch.stack(made)
    classes = kept["classes"]
    if len(points) * points.shape[-1] < 4 * classes:
        raise SonopaintError(f"{len(points)} clips are too few for {classes} classes; make more.")
    write_tensors(path, {"books": fit(points, classes, kept["seed"]).books}, force=True)


def _same_options(folder: Path, kept: dict[str, Any]) -> None:
    """One folder, one way of making it; only the number of clips may grow."""
    path = folder / "dataset.json"
    changing = ("clips", "workers")
    if path.is_file():
        found = read_json(path)
        different = [n for n in kept if n not in changing and found.get(n) != kept[n]]
        if different or found["clips"] > kept["clips"]:
            name = (different or ["clips"])[0]
            raise SonopaintError(
                f"{folder} was made with {name} {found.get(name)}, not {kept[name]}; choose another "
                f"{setting('out')}, or the same options."
            )
    write_json(path, {name: value for name, value in kept.items() if name != "workers"})


def _name(shard: int) -> str:
    return f"shard-{shard:05d}.safetensors"


def _wanted(clips: int, shard: int) -> int:
    return min(SHARD, clips - shard * SHARD)
