"""Healing: gaps, cut-offs and clipping, by the bridge, each classic, Mini's inpainting, and silence; clicks.

    python benchmarks/heal.py [--weights FILE] [--items N] [--mini-items N] [--lengths 10 100] [--steps N]
                            [--only gaps|bands|clipping|clicks|long]

Inside each gap: log-spectral distance in dB (frames of 512 samples, floored 60 dB below the clip's loudest
cell) and envelope error (mean difference of the level of 10 ms in dB, floored likewise). The sounds are none
that the bridge learnt from: other seeds of the corpus and of the speech synthesiser, and recordings.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from scipy.signal import firwin, lfilter

sys.path.insert(0, str(Path(__file__).parent))
from sonoconvert.files.clip import Clip, read_clip, write_clip
from sonopaint.heal import heal as heal_module
from sonopaint.heal.bridging import raised
from sonopaint.heal.choosing import distances
from sonopaint.heal.declip import ceiling_of, declipped
from sonopaint.heal.detect import clicks_of
from sonopaint.heal.heal import HealSettings, heal
from sonopaint.heal.marks import Mark
from sonopaint.models import bridge as bridges
from sonotrain.data import foley
from sonotrain.data.speech import speech

RATE, SEED = 32_000, 987_654
LENGTHS = (10, 30, 100, 300, 1000)
METHODS = ("bridge", "interpolate", "predict", "continue", "copy", "silence", "auto")
GROUPS = {
    "music": ("arpeggio", "bell", "piano", "guitar", "organ", "flute", "drums", "violin"),
    "noise": ("rain", "wind", "stream", "ocean_waves", "thunder", "forest_ambience", "fire", "crowd"),
    "events": ("dog_bark", "footsteps", "door", "gunshot", "hammer", "glass", "explosion", "bird_song"),
}
FIXTURES = Path(__file__).parent.parent / "tests" / "fixtures"


def sounds(items: int) -> dict[str, list[np.ndarray]]:
    """`items` sounds of each group, float [samples] at RATE."""
    rng = np.random.default_rng(SEED)
    found = {"speech": [_recording("speech.flac")]}
    found["speech"] += [speech(5 * RATE, RATE, rng) for _ in range(items - 1)]
    for group, wanted in GROUPS.items():
        kinds = [kind for kind in wanted if kind in foley.KINDS]
        kinds += [kind for kind in foley.KINDS if kind not in kinds and group == "music" and _musical(kind)]
        kinds = (kinds * items)[:items]
        found[group] = list(foley.batch(items, SEED, kinds=kinds).waveforms.numpy().astype(np.float64))
    found["music"][-1] = np.pad(_recording("complete.oga"), (0, RATE))
    return {group: [sound / np.abs(sound).max() for sound in some] for group, some in found.items()}


def _musical(kind: str) -> bool:
    return foley.KINDS[kind].make.__module__.endswith("music")


def _recording(name: str) -> np.ndarray:
    return read_clip(FIXTURES / name).mono().resampled(RATE).waveform[0].numpy().astype(np.float64)


def place(sound: np.ndarray, count: int, rng: np.random.Generator) -> int:
    """Where a gap begins: at random, where the sound is not much quieter than it mostly is."""
    margin = min(4096, (len(sound) - count) // 4)
    usual = np.sqrt(np.mean(sound**2))
    for _ in range(40):
        start = int(rng.integers(margin, len(sound) - count - margin))
        if np.sqrt(np.mean(sound[start : start + count] ** 2)) > 0.3 * usual:
            break
    return start


def gaps(options: argparse.Namespace, methods: list[str]) -> None:
    mini = _Mini() if options.mini_items else None
    every = sounds(options.items)
    names = [*methods, *(["Mini"] if mini else [])]
    print(f"| gap | sounds | {' | '.join(names)} |\n|{'---|' * (len(names) + 2)}")
    seconds: dict[str, float] = {}
    for length in options.lengths:
        count = length * RATE // 1000
        for group, some in every.items():
            found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
            rng = np.random.default_rng((SEED, length))
            for number, sound in enumerate(some):
                if len(sound) < count + 16_000:
                    continue
                start = place(sound, count, rng)
                stop = start + count
                damaged = sound.copy()
                damaged[start:stop] = 0
                clip = Clip(torch.from_numpy(damaged[None].astype(np.float32)), RATE)
                for name in names:
                    begun = time.process_time()
                    if name == "Mini":
                        if mini is None or number >= options.mini_items:
                            continue
                        made = mini.paint(clip, start / RATE, stop / RATE)
                    else:
                        settings = HealSettings(name, number, options.steps)
                        made = heal(clip, [Mark(start, stop)], settings).clip.waveform[0].numpy()
                    if length == 1000:
                        seconds[name] = seconds.get(name, 0.0) + time.process_time() - begun
                    found[name].append(distances(sound, made, start, stop, RATE))
            row = [
                "{:.1f} / {:.1f}".format(*np.mean(values, axis=0)) if values else ""
                for values in found.values()
            ]
            print(f"| {length} ms | {group} | {' | '.join(row)} |", flush=True)
    print("\nCPU seconds for gaps of 1000 ms: " + ", ".join(f"{k} {v:.2f}" for k, v in seconds.items()))


class _Mini:
    """Mini's inpainting without words."""

    def __init__(self) -> None:
        from sonopaint.models.loading import load_model

        self.model = load_model("mini")

    def paint(self, clip: Clip, start_s: float, stop_s: float) -> np.ndarray:
        from sonoconvert.edits.region import Box, Region
        from sonopaint.tasks import inpaint
        from sonopaint.tasks.settings import PaintSettings

        region = Region((Box(start_s, stop_s),), feather_s=0.0)
        result = inpaint(self.model, clip, region, PaintSettings("", seed=1, steps=12))[0]
        return result.clip.waveform[0].numpy()


def bands(options: argparse.Namespace) -> None:
    """Cut-offs: log-spectral distance above them."""
    bridge = heal_module.load()
    print("\n| cut-off | sounds | bridge | copied up | nothing |\n|---|---|---|---|---|")
    for cutoff in (4000, 8000):
        taps = firwin(511, cutoff - 200, fs=RATE)
        for group, some in sounds(options.items).items():
            found: list[list[float]] = [[], [], []]
            for sound in some:
                dull = lfilter(taps, 1, np.pad(sound, (0, 255)))[255:]
                for row, made in zip(
                    found,
                    (
                        raised(bridge, dull, cutoff, RATE, steps=options.steps) if bridge else None,
                        raised(None, dull, cutoff, RATE),
                        dull,
                    ),
                    strict=True,
                ):
                    if made is not None:
                        row.append(_above(sound, made, cutoff))
            shown = [f"{np.mean(row):.1f}" if row else "" for row in found]
            print(f"| {cutoff} Hz | {group} | {' | '.join(shown)} |", flush=True)


def _above(true: np.ndarray, made: np.ndarray, cutoff: float) -> float:
    first, second = (
        torch.stft(
            torch.from_numpy(sound.astype(np.float32)), 2048, 512,
            window=torch.hann_window(2048), return_complex=True,
        ).abs()
        for sound in (true, made)
    )  # fmt: skip
    floor = first.max() * 1e-3
    above = slice(int(cutoff / RATE * 2048), None)
    difference = 20 * torch.log10(first.clamp_min(floor) / second.clamp_min(floor))[above]
    return float(difference.square().mean(0).sqrt().mean())


def clipping(options: argparse.Namespace) -> None:
    """Clipped peaks: signal to error in the clipped samples, dB."""
    print("\n| clipped at | sounds | declipped | as it is |\n|---|---|---|---|")
    for decibels in (-6, -12):
        for group, some in sounds(options.items).items():
            found = []
            for sound in some:
                level = np.abs(sound).max() * 10 ** (decibels / 20)
                clipped = np.clip(sound, -level, level)
                ceiling = ceiling_of(clipped)
                if ceiling is None:
                    continue
                bad = np.abs(clipped) >= ceiling
                pair = (declipped(clipped, ceiling), clipped)
                found.append(
                    [
                        10 * np.log10(np.sum(sound[bad] ** 2) / np.sum((made - sound)[bad] ** 2))
                        for made in pair
                    ]
                )
            shown = [f"{value:.1f}" for value in np.mean(found, axis=0)] if found else ["", ""]
            print(f"| {decibels} dB | {group} | {' | '.join(shown)} |", flush=True)


def with_clicks(
    sound: np.ndarray, count: int, height: float, rng: np.random.Generator
) -> tuple[np.ndarray, list[int]]:
    """(sound with clicks, their places): 1 to 8 samples where it is loud, `height` of the peaks there."""
    level = np.sqrt(np.convolve(sound**2, np.ones(640) / 640, "same"))
    loud = np.flatnonzero(level > 0.5 * np.quantile(level, 0.95))
    loud = loud[(loud > 2000) & (loud < len(sound) - 2000)]
    clicked, places = sound.copy(), []
    for start in rng.permutation(loud):
        if len(places) < count and all(abs(start - other) > 3000 for other in places):
            click = rng.standard_normal(int(rng.integers(1, 9)))
            peak = np.abs(sound[start - 320 : start + 320]).max()
            clicked[start : start + len(click)] += height * peak * click / np.abs(click).max()
            places.append(int(start))
    return clicked, places


def clicks(options: argparse.Namespace) -> None:
    """Clicks in the loud parts of speech: how many are found, and what is taken for one."""
    spoken = sounds(options.items)["speech"]
    marks, long = sum(len(clicks_of(sound, RATE)) for sound in spoken), sum(map(len, spoken)) / RATE
    print(f"\nIn {long:.0f} s of speech without a click {marks} are marked.\n\n| height | found |\n|---|---|")
    for height in (0.3, 0.6, 1.0, 2.0):
        found = every = 0
        for number, sound in enumerate(spoken):
            clicked, places = with_clicks(sound, 12, height, np.random.default_rng((SEED, number)))
            said = clicks_of(clicked, RATE)
            found += sum(any(a - 4 <= place < b + 4 for a, b in said) for place in places)
            every += len(places)
        print(f"| {height:g} of the voice's peaks | {found} of {every} |", flush=True)


def long(options: argparse.Namespace) -> None:
    """Ten minutes of mono with 200 clicks, by the command line, with its time and memory."""
    spoken = np.concatenate(sounds(options.items)["speech"])
    whole = np.resize(spoken, 600 * RATE) / 2
    clicked, _ = with_clicks(whole, 200, 2.0, np.random.default_rng(SEED))
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "long.wav", Path(folder) / "healed.wav"
        write_clip(Clip(torch.from_numpy(clicked[None].astype(np.float32)), RATE), source)
        begun = time.monotonic()
        command = [sys.executable, "-m", "sonopaint", "heal", str(source), "--auto", "-o", str(target)]
        subprocess.run(command, check=True, capture_output=True)
        took, used = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
        healed = read_clip(target).waveform[0].numpy()
    before, after = (np.sqrt(np.mean((sound - whole) ** 2)) for sound in (clicked, healed))
    print(
        f"\n10 minutes with 200 clicks: {took:.0f} s ({used.ru_utime:.0f} s of processor time), at most "
        f"{used.ru_maxrss / 1024:.0f} MB; {20 * np.log10(after / before):.1f} dB of the error is left."
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", help="a bridge (the shipped one)")
    parser.add_argument("--items", type=int, default=8, help="sounds in a group (8)")
    parser.add_argument("--mini-items", type=int, default=0, help="of them, painted by Mini too (0)")
    parser.add_argument("--lengths", type=int, nargs="*", default=LENGTHS, help="of the gaps, in ms")
    parser.add_argument("--steps", type=int, default=bridges.STEPS, help="of the bridge")
    parser.add_argument("--only", choices=("gaps", "bands", "clipping", "clicks", "long"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    bridge = bridges.read(options.weights) if options.weights else bridges.load()
    heal_module.load = lambda: bridge  # type: ignore[assignment]
    methods = [name for name in METHODS if name != "bridge" or bridge is not None]
    for name, work in (("gaps", lambda: gaps(options, methods)), ("bands", lambda: bands(options)),
                       ("clipping", lambda: clipping(options)), ("clicks", lambda: clicks(options)),
                       ("long", lambda: long(options))):  # fmt: skip
        if options.only in (None, name):
            work()


if __name__ == "__main__":
    main()
