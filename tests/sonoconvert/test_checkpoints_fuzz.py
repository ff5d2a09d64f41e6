"""Hostile files of every kind that sonoconvert reads: one sentence or success, never a crash or a hang."""

from __future__ import annotations

import faulthandler
import json
import random
import signal
import struct
import threading
import time
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from sonoconvert.checkpoints.explain import explain, in_words
from sonoconvert.checkpoints.files import read_stored, read_tensors
from sonoconvert.checkpoints.layouts import open_model
from sonoconvert.checkpoints.lora import read_lora, save_lora
from sonoconvert.checkpoints.nouns import LoraModule
from sonoconvert.checkpoints.pickles import read_pickle
from sonoconvert.conversion.convert import encode
from sonoconvert.conversion.manifest import Manifest
from sonoconvert.errors import SonopaintError
from sonoconvert.files.clip import Clip, read_clip, write_clip
from sonoconvert.files.info import describe
from sonoconvert.pictures.picture import load_picture, save_picture

SECONDS = 20.0  # for one file of some kilobytes, on a busy machine; most take milliseconds
KINDS = ("wav", "flac", "ogg", "png", "safetensors", "lora", "peft", "zip pickle", "old pickle", "jsonl")


def seeds(folder: Path) -> dict[str, bytes]:
    """One small sound file of each kind, from which the hostile ones are made."""
    torch.manual_seed(0)
    clip = Clip(torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, (1, 2000)).astype(np.float32)), 8000)
    for kind in ("wav", "flac", "ogg"):
        write_clip(clip, folder / f"seed.{kind}")
    sound = Clip(torch.randn(1, 8000) / 10, 32_000)
    save_picture(encode(sound, "sonopaint-mini"), folder / "seed.png")
    name = "model.diffusion_model.input_blocks.0.0.weight"
    tensors = {name: torch.randn(4, 4, 3, 3), "a.bias": torch.randn(3).half(), "ids": torch.arange(3)}
    save_file(tensors, folder / "seed.safetensors", {"modelspec.title": "x", "sonopaint.config": "{}"})
    module = LoraModule(torch.randn(2, 8), torch.randn(8, 2), 1.0)
    modules = {f"unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_{x}": module for x in "qkv"}
    save_lora(folder / "lora.safetensors", modules, names="diffusers")
    save_lora(folder / "peft", modules, to="peft")
    torch.save({"state_dict": tensors, "epoch": 3}, folder / "new.pt")
    torch.save({"state_dict": tensors, "epoch": 3}, folder / "old.pt", _use_new_zipfile_serialization=False)
    line = json.dumps({"source": "a.wav", "target": "a.png", "status": "done", "outputs": ["a.png"]})
    return {
        **{
            kind: (folder / f"seed.{kind}").read_bytes()
            for kind in ("wav", "flac", "ogg", "png", "safetensors")
        },
        "lora": (folder / "lora.safetensors").read_bytes(),
        "peft": (folder / "peft" / "adapter_config.json").read_bytes(),
        "zip pickle": (folder / "new.pt").read_bytes(),
        "old pickle": (folder / "old.pt").read_bytes(),
        "jsonl": (line + "\n").encode() * 3,
    }


def mangled(data: bytes, rng: random.Random) -> bytes:
    """Cut, flipped, doubled, filled or exchanged bytes; now and then nothing but noise."""
    if rng.random() < 0.05:
        return rng.randbytes(rng.randrange(0, 2000))
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 30))):
        at = rng.randrange(len(out) + 1)
        way = rng.randrange(7)
        if way == 0:
            del out[at:]
        elif way == 1 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif way == 2:
            out[at : at + 8] = struct.pack(
                "<Q", rng.choice((0, 1, 2**31 - 1, 2**32 - 1, 2**62, 2**63 - 1, 2**64 - 1))
            )
        elif way == 3:
            out[at:at] = rng.randbytes(rng.randrange(1, 40))
        elif way == 4:
            del out[at : at + rng.randrange(1, 40)]
        elif way == 5:
            out[at:at] = out[max(0, at - 60) : at]
        else:
            word = rng.choice(
                (b"[" * 5000, b"null", b"1e999", b"-1", b"\x00" * 16, b'"', b"{}", "é".encode("latin-1"))
            )
            out[at : at + len(word)] = word
        out = out[:400_000]
    return bytes(out)


def lying_header(data: bytes, rng: random.Random) -> bytes:
    """A safetensors file whose header is well-formed JSON and says something else."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    body = data[8 + length :]
    name = rng.choice([key for key in header if key != "__metadata__"])
    odd: Any = rng.choice((-1, 0, 2**40, 2**63, 1.5, True, None, "x", [], {}, [1] * 100, [2**31] * 3))
    field = rng.choice(("dtype", "shape", "data_offsets", "entry", "metadata", "move", "double"))
    if field == "entry":
        header[name] = odd
    elif field == "metadata":
        header["__metadata__"] = rng.choice((odd, {"a": odd}, {"sonopaint.format": '{"n_fft": 1e99}'}))
    elif field == "move":
        header[name]["data_offsets"] = [x + rng.choice((-8, 4, 2**20)) for x in header[name]["data_offsets"]]
    elif field == "double":
        header["twin"] = header[name]
    else:
        header[name][field] = rng.choice((odd, ["F64"], "F4", [odd, odd]))
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def resealed(data: bytes, rng: random.Random, folder: Path) -> bytes:
    """torch.save's archive with a mangled program in it, checksums right."""
    source, target = folder / "in.zip", folder / "out.zip"
    source.write_bytes(data)
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as archive:
        for name in old.namelist():
            content = old.read(name)
            archive.writestr(name, mangled(content, rng) if name.endswith("data.pkl") else content)
    return target.read_bytes()


def rechecked(data: bytes, rng: random.Random) -> bytes:
    """A PNG with one mangled chunk, checksums right."""
    chunks, at = [], 8
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    chosen = rng.randrange(len(chunks))
    kind, content = chunks[chosen]
    if kind == b"IDAT" and rng.random() < 0.7:  # inside the compressed rows
        content = zlib.compress(mangled(zlib.decompress(content), rng))
    else:
        content = mangled(content, rng)
    chunks[chosen] = kind, content
    sealed = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    ]
    return data[:8] + b"".join(sealed)


def read_everything(kind: str, path: Path) -> None:
    """What the commands do with a file of this kind."""
    if kind in ("wav", "flac", "ogg"):
        describe(path)
        read_clip(path)
    elif kind == "png":
        describe(path)
        load_picture(path, format="sonopaint-mini")
    elif kind == "peft":
        read_lora(path.parent)
    elif kind == "jsonl":
        Manifest(path).read()
    elif kind.endswith("pickle"):
        for tensor in read_pickle(path).tensors.values():
            tensor.load()
        in_words(explain(path))
    else:
        in_words(explain(path))
        read_tensors(path)
        (read_lora if kind == "lora" else open_model)(path)


class Hang(Exception):
    pass


def attempt(kind: str, path: Path) -> str:
    """ "fine" or "refused"; anything else is raised, and what takes too long is too."""

    def ring(*_: object) -> None:
        raise Hang(f"{path.name} took more than {SECONDS} s")

    timed = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGALRM, ring) if timed else None
    if timed:
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        read_everything(kind, path)
        return "fine"
    except SonopaintError as error:
        assert "\n" not in str(error) and str(error).endswith((".", ")", "?")) and len(str(error)) < 1500, (
            str(error)
        )
        return "refused"
    finally:
        if timed:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


SUFFIXES = {"lora": "safetensors", "zip pickle": "pt", "old pickle": "pt", "peft": "json"}


def run(folder: Path, count: int, seed: int) -> tuple[Counter[tuple[str, str]], float]:
    """Attempts by (kind, outcome), and the longest time of one file."""
    originals = seeds(folder)
    outcomes: Counter[tuple[str, str]] = Counter()
    longest = 0.0
    save_lora(
        folder / "p",
        {"unet.conv_in": LoraModule(torch.randn(2, 4, 3, 3), torch.randn(8, 2, 1, 1), 1.0)},
        to="peft",
    )
    for number in range(count):
        rng = random.Random(f"{seed}-{number}")
        kind = KINDS[number % len(KINDS)]
        data = originals[kind]
        if kind in ("safetensors", "lora") and rng.random() < 0.5:
            data = lying_header(data, rng)
        elif kind == "png" and rng.random() < 0.7:
            data = rechecked(data, rng)
        elif kind == "zip pickle" and rng.random() < 0.6:
            data = resealed(data, rng, folder)
        else:
            data = mangled(data, rng)
        path = folder / f"hostile.{SUFFIXES.get(kind, kind)}"
        if kind == "peft":
            path = folder / "p" / "adapter_config.json"
        path.write_bytes(data)
        begun = time.monotonic()
        try:
            outcomes[kind, attempt(kind, path)] += 1
        except BaseException:
            path.rename(folder / f"killer-{seed}-{number}{path.suffix}")
            raise
        longest = max(longest, time.monotonic() - begun)
    return outcomes, longest


@pytest.fixture(autouse=True)
def _watched() -> Iterator[None]:
    faulthandler.dump_traceback_later(3600, exit=True)  # a hang in C can't be interrupted: say where, and end
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries, about the damage
        yield
    faulthandler.cancel_dump_traceback_later()


def test_the_seeds_themselves_are_read(tmp_path: Path) -> None:
    originals = seeds(tmp_path)
    for kind, data in originals.items():
        path = tmp_path / f"x.{SUFFIXES.get(kind, kind)}"
        if kind == "peft":
            path = tmp_path / "peft" / "adapter_config.json"
        path.write_bytes(data)
        expected = "refused" if kind == "safetensors" else "fine"  # it is no complete model, only well-formed
        assert attempt(kind, path) == expected, kind


def test_hundreds_of_hostile_files(tmp_path: Path) -> None:
    outcomes, _ = run(tmp_path, 400, seed=1)
    assert outcomes.total() == 400
    for kind in KINDS:  # the damage is real
        assert kind == "jsonl" or outcomes[kind, "refused"] > 5, outcomes


@pytest.mark.slow
def test_ten_thousand_hostile_files(tmp_path: Path) -> None:
    outcomes, longest = run(tmp_path, 10_000, seed=2)
    print("\n".join(f"{kind}: {outcome} {n}" for (kind, outcome), n in sorted(outcomes.items())))
    print(f"the slowest took {longest:.2f} s")
    assert outcomes.total() == 10_000 and longest < SECONDS


NUMBERS = st.one_of(st.integers(-(2**70), 2**70), st.floats(), st.booleans(), st.none(), st.text(max_size=5))
TYPES = st.sampled_from(["F32", "F16", "BF16", "I64", "BOOL", "F8_E4M3", "F4", ""])
ENTRY = st.one_of(
    NUMBERS,
    st.fixed_dictionaries(
        {
            "dtype": st.one_of(
                st.sampled_from(["F32", "F16", "BF16", "I64", "BOOL", "F8_E4M3", "F4", ""]), NUMBERS
            ),
            "shape": st.one_of(st.lists(st.one_of(st.integers(-2, 5), NUMBERS), max_size=40), NUMBERS),
            "data_offsets": st.one_of(st.lists(st.one_of(st.integers(-4, 90), NUMBERS), max_size=3), NUMBERS),
        }
    ),
)
HEADER = st.dictionaries(
    st.one_of(
        st.sampled_from(["__metadata__", "a", "lora_unet_conv_in.lora_up.weight"]), st.text(max_size=8)
    ),
    ENTRY,
    max_size=4,
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(header=HEADER, body=st.binary(max_size=90), lie=st.one_of(st.just(0), st.integers(-50, 2**63)))
def test_any_header_is_read_or_refused(tmp_path: Path, header: Any, body: bytes, lie: int) -> None:
    text = json.dumps(header).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", max(0, len(text) + lie) % 2**64) + text + body)
    try:
        tensors, _ = read_stored(path)
    except SonopaintError as error:
        assert "\n" not in str(error)
        return
    assert sum(t.bytes for t in tensors.values()) == len(body)  # what is accepted is what is there
    for name, tensor in tensors.items():
        assert tuple(tensor.load().shape) == tensor.shape == tuple(header[name]["shape"])


PIECES = st.sampled_from(
    [*(bytes([b]) for b in range(256)), b"cos\nsystem\n", b"K\x00", b"X\x01\x00\x00\x00a"]
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=st.lists(PIECES, max_size=60))
def test_any_program_is_read_or_refused(tmp_path: Path, program: list[bytes]) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(b"\x80\x02" + b"".join(program) + b".")
    with pytest.raises(SonopaintError):
        read_pickle(path)


def test_accepted_headers_agree_with_the_safetensors_library(tmp_path: Path) -> None:
    """What is read here, the library reads alike; what the library refuses, is refused here."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    rng = random.Random(5)
    original = seeds(tmp_path)["safetensors"]
    agreed: Counter[bool] = Counter()
    for _ in range(200):
        data = lying_header(original, rng) if rng.random() < 0.7 else mangled(original, rng)
        path = tmp_path / "x.safetensors"
        path.write_bytes(data)
        try:
            ours: dict[str, torch.Tensor] | None = read_tensors(path, dtype=None)
        except SonopaintError:
            ours = None
        theirs: dict[str, torch.Tensor] | None = None
        try:
            theirs = load_file(path)
        except (SafetensorError, ValueError, OverflowError, RuntimeError, OSError, KeyError):
            pass
        if ours is not None and theirs is not None:
            assert ours.keys() == theirs.keys()
            assert all(
                torch.equal(t, theirs[n]) or t.isnan().any() for n, t in ours.items() if t.is_floating_point()
            )
        if theirs is None:
            assert ours is None or any(t.numel() == 0 for t in ours.values()), data[:200]
        agreed[ours is None] += 1
    assert agreed[True] > 50 and agreed[False] > 5


def test_headers_that_no_weights_need_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    entry = {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}
    for header, words in (
        (json.dumps({"a": entry | {"x": [{}] * 2_700_000}}), "header of .* bytes, which no weights need"),
        (json.dumps({str(n): entry for n in range(60_000)}), "60000 tensors; 50000 is the limit"),
    ):
        path.write_bytes(len(header).to_bytes(8, "little") + header.encode())
        with pytest.raises(SonopaintError, match=words):
            read_stored(path)
