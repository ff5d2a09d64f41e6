"""Hostile files for every reader of the house: one sentence or success; no traceback, no hang, no flood.

The binary kinds are those of tests/sonoconvert/test_checkpoints_fuzz.py, the others are texts that pages and
trainers read. A seed says all: what kills a reader is kept as killer-SEED-NUMBER.
"""

from __future__ import annotations

import importlib.util
import json
import random
import resource
import sys
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from sonoconvert.checkpoints.layouts import open_model
from sonoconvert.checkpoints.schedule import scheduler_of_single
from sonoconvert.errors import SonopaintError

SECONDS = 5.0  # of the processor's time, for one file
KILOBYTES = 1_000_000
WORDS = (
    b"[" * 20_000,
    b'{"a":' * 20_000,
    b"null",
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"9" * 400,
    b"9" * 5000,
    b"-1",
    b"true",
    b'"',
    b"{}",
    b"[]",
    b"\x00",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xa8",
    b"\\ud800",
    b"\x1b[2J",
    b"\r",
    b"sep=;\n",
    b"../../x",
    b"a\x00b",
    "é".encode("latin-1"),
    b",,,,,,,,",
    b'"\n',
    b"#",
    b"[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]",
)


def sibling(name: str) -> Any:
    """A module of tests by its path: the folders are no packages."""
    spec = importlib.util.spec_from_file_location(
        "binary_hostiles", Path(__file__).with_name("sonoconvert") / name
    )
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def mangled(data: bytes, rng: random.Random) -> bytes:
    """A text with bytes, words, lines or values exchanged, doubled, cut off."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at, way = rng.randrange(len(out) + 1), rng.randrange(7)
        if way == 0:
            del out[at:]
        elif way == 1 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif way == 2:
            out[at:at] = rng.choice(WORDS)
        elif way == 3:
            del out[at : at + rng.randrange(1, 30)]
        elif way == 4:
            out[at:at] = rng.randbytes(rng.randrange(1, 9))
        else:  # a whole value of JSON or a cell of a table
            ends = [index for index, byte in enumerate(out) if byte in b',:\n}"']
            if len(ends) > 1:
                first = rng.randrange(len(ends) - 1)
                out[ends[first] + 1 : ends[first + 1]] = rng.choice(WORDS)
    return bytes(out[:200_000])


class Readers:
    """`texts` are whole files by kind; `read(kind, data)` does with one what the house does with it."""

    def __init__(self, folder: Path, mini: Path) -> None:
        self.folder = folder
        soundfile.write(folder / "a.wav", np.zeros(800) + 0.1, 8000)
        (folder / "data/train").mkdir(parents=True)
        for name in ("a.png", "a.flac"):
            (folder / "data/train" / name).touch()
        (folder / "previews/step-00000003").mkdir(parents=True)
        (folder / "previews/step-00000003/sheet.png").touch()
        self.mini = mini
        row = {
            "file_name": "a.wav",
            "text": "dog",
            "label": "x",
            "start_s": 0.0,
            "duration_s": 0.1,
            "split": "train",
        }
        line = {
            "file_name": "a.png",
            "text": "dog",
            "audio": "a.flac",
            "label": "dog",
            "source": "a.wav",
            "start_s": 0.5,
            "columns": 320,
            "peak": 0.5,
            "more_texts": ["b"],
            "repeats": 2,
        }
        state = {
            "phase": "training",
            "doing": "",
            "step": 3,
            "total": 100,
            "seconds": 1.0,
            "left_s": 5.0,
            "memory_mb": 1.5,
            "notes": ["a"],
            "file": "x.safetensors",
        }
        log = "".join(
            json.dumps({"step": n, "loss": 0.5, "lr": 1e-4, "validation_loss": 0.3}) + "\n" for n in range(4)
        )
        from sonoconvert.pictures.format import get_format

        about = {"version": 1, "format": get_format("sonopaint-mini").to_dict(), "trigger": "z"}
        yaml = 'model:\n  params:\n    parameterization: "v"\n    linear_start: 1e-3\n    timesteps: 1000\n'
        self.texts: dict[str, bytes] = {
            "csv": b'file_name,text,start_s\na.wav,"a dog, far",0\na.wav,cat,0.05\n',
            "tsv": b"file_name\ttext\na.wav\tdog\n",
            "jsonl": (json.dumps(row) + "\n").encode() * 2,
            "json": json.dumps([row, row]).encode(),
            "sidecar": "a dog\ncafé\n".encode(),
            "metadata.jsonl": (json.dumps(line) + "\n").encode() * 2,
            "dataset.json": json.dumps(about).encode(),
            "state.json": json.dumps(state).encode(),
            "config.json": json.dumps({"command": "lora", "prompts": ["a"], "steps": 9}).encode(),
            "log.jsonl": log.encode(),
            "yaml": yaml.encode(),
            "mini": (mini / "config.json").read_bytes(),
        }

    def read(self, kind: str, data: bytes) -> None:
        from sonotrain.data.dataset import load_dataset
        from sonotrain.data.options import DatasetOptions
        from sonotrain.data.sources import find_recordings
        from sonotrain.training import run_view, runs

        if kind in ("csv", "tsv", "jsonl", "json"):
            path = self.folder / f"table.{kind}"
            path.write_bytes(data)
            find_recordings(path, DatasetOptions())
        elif kind == "sidecar":
            (self.folder / "a.txt").write_bytes(data)
            find_recordings(self.folder, DatasetOptions(layout="folder"))
        elif kind in ("metadata.jsonl", "dataset.json"):
            for name, place in (("metadata.jsonl", "train/metadata.jsonl"), ("dataset.json", "dataset.json")):
                (self.folder / "data" / place).write_bytes(data if name == kind else self.texts[name])
            load_dataset(self.folder / "data")
        elif kind in ("state.json", "config.json", "log.jsonl"):
            for name in ("state.json", "config.json", "log.jsonl"):
                (self.folder / name).write_bytes(data if name == kind else self.texts[name])
            state = runs.read(self.folder)
            for show in (run_view.sentence_of, run_view.facts_of, run_view.curves_of):
                show(state)
            run_view.previews_of(state, lambda path, name: name)
        elif kind == "yaml":
            (self.folder / "m.yaml").write_bytes(data)
            scheduler_of_single(self.folder / "m.safetensors", (), {})
        else:
            from sonopaint.models.info import describe
            from sonopaint.models.mini import load_mini

            (self.mini / "config.json").write_bytes(data)
            describe(self.mini)
            open_model(self.mini)
            load_mini(self.mini)


def attempts(readers: Readers, count: int, seed: int) -> Counter[tuple[str, str]]:
    outcomes: Counter[tuple[str, str]] = Counter()
    kinds = list(readers.texts)
    for number in range(count):
        rng = random.Random(f"{seed}-{number}")
        kind = kinds[number % len(kinds)]
        if kind == "mini" and number % 5:  # networks are built by it, which takes a while
            kind = "yaml"
        data = mangled(readers.texts[kind], rng)
        start = time.process_time()
        try:
            readers.read(kind, data)
            outcomes[kind, "fine"] += 1
        except SonopaintError as error:
            assert not set(str(error)) & set("\x1b\x00\ud800"), (kind, number)
            outcomes[kind, "refused"] += 1
        except BaseException:
            (readers.folder / f"killer-{seed}-{number}").write_bytes(data)
            raise
        took = time.process_time() - start
        assert took < SECONDS, (kind, number, took)
    return outcomes


@pytest.fixture
def readers(tmp_path: Path) -> Readers:
    import torch

    from sonopaint.models.mini import build_mini, mini_config, save_mini
    from sonopaint.models.tokenizer import load_tokenizer, train_tokenizer

    config = mini_config(train_tokenizer(["a dog barking in the rain"], tmp_path / "words", 560))
    config["unet"]["block_out_channels"] = [32, 32, 32]
    config["vae"]["block_out_channels"] = [32, 32, 32, 32]
    config["text_encoder"]["num_hidden_layers"] = 1
    torch.manual_seed(0)
    save_mini(
        tmp_path / "mini", *build_mini(config), load_tokenizer(tmp_path / "words"), defaults={"steps": 2}
    )
    (tmp_path / "texts").mkdir()
    return Readers(tmp_path / "texts", tmp_path / "mini")


def test_the_texts_themselves_are_read(readers: Readers) -> None:
    for kind, data in readers.texts.items():
        readers.read(kind, data)


def test_hundreds_of_hostile_texts(readers: Readers) -> None:
    outcomes = attempts(readers, 600, seed=4)
    assert outcomes.total() == 600
    for kind in ("csv", "jsonl", "metadata.jsonl", "dataset.json", "mini"):  # the damage is real
        assert outcomes[kind, "refused"] > 2, outcomes


@pytest.mark.slow
def test_twenty_thousand_hostile_files(readers: Readers, tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries, about the damage
        (tmp_path / "binary").mkdir()
        outcomes, longest = sibling("test_checkpoints_fuzz.py").run(tmp_path / "binary", 10_000, seed=5)
        outcomes += attempts(readers, 10_000, seed=6)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told = [f"{kind}: {outcome} {count}" for (kind, outcome), count in sorted(outcomes.items())]
    sys.stdout.write("\n".join([*told, f"slowest binary {longest:.2f} s, peak {peak // 1024} MB"]) + "\n")
    assert outcomes.total() == 20_000 and longest < 4 * SECONDS  # by the clock, other work beside it
    assert peak <= max(before, KILOBYTES)
