"""Pickles: weights come out bit for bit, nothing in them runs, and what is refused is named."""

from __future__ import annotations

import collections
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sonoconvert.checkpoints.pickles import read_pickle
from sonoconvert.errors import SonopaintError

BOTH = pytest.mark.parametrize("new", [True, False], ids=["zip", "stream"])


def some_tensors() -> dict[str, torch.Tensor]:
    base = torch.arange(24.0).reshape(4, 6)
    return {
        "plain": torch.randn(3, 5),
        "half": torch.randn(7).half(),
        "bf": torch.randn(2, 2).bfloat16(),
        "ids": torch.arange(5),
        "flags": torch.tensor([True, False]),
        "bytes": torch.arange(9, dtype=torch.uint8),
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 4),
        "transposed": base.t(),
        "part": base[1:3, 2:5],
        "row": base[2],
        "parameter": torch.nn.Parameter(torch.randn(2)),
    }


def save(path: Path, value: Any, new: bool) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=new)
    return path


@BOTH
@pytest.mark.parametrize("wrapped", [False, True])
def test_tensors_come_out_bit_for_bit(tmp_path: Path, new: bool, wrapped: bool) -> None:
    tensors = some_tensors()
    value: Any = collections.OrderedDict(tensors)
    if wrapped:
        value = {"state_dict": value, "epoch": 3, "optimizer_states": [{"x": torch.zeros(2)}], "note": "hi"}
    read = read_pickle(save(tmp_path / "x.ckpt", value, new))
    assert read.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        stored = read.tensors[name]
        loaded = stored.load()
        assert (loaded.dtype, loaded.shape) == (tensor.dtype, tensor.shape) == (stored.dtype, stored.shape)
        assert torch.equal(loaded, tensor) and loaded.is_contiguous()
    assert read.left_out == (["epoch", "optimizer_states", "note"] if wrapped else [])


@BOTH
def test_nested_names_are_joined_and_tied_tensors_stay(tmp_path: Path, new: bool) -> None:
    tied = torch.randn(4)
    value = {"string_to_param": {"*": tied}, "model": [tied, {"b": torch.ones(1)}], "step": 7}
    read = read_pickle(save(tmp_path / "x.pt", value, new))
    assert list(read.tensors) == ["string_to_param.*", "model.0", "model.1.b"]
    assert torch.equal(read.tensors["model.0"].load(), tied) and read.left_out == ["step"]


@BOTH
def test_what_training_leaves_beside_the_weights_is_passed_over(tmp_path: Path, new: bool) -> None:
    value = {
        "state_dict": {"a": torch.ones(2)},
        "loss": np.float64(0.5),
        "history": np.arange(3),
        "names": {"x", "y"},
        "args": __import__("argparse").Namespace(lr=1e-3),
        "counts": collections.defaultdict(int, a=1),
    }
    read = read_pickle(save(tmp_path / "x.ckpt", value, new))
    assert list(read.tensors) == ["a"] and set(read.left_out) == value.keys() - {"state_dict"}


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch pwned",)


class Sly:
    """Reaches for a dangerous function by an innocent one."""

    def __reduce__(self) -> Any:
        return getattr, ("abc", "upper")


@BOTH
@pytest.mark.parametrize(("thing", "name"), [(Evil(), "system"), (Sly(), "getattr"), (eval, "eval")])
def test_code_is_refused_by_name_and_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new: bool, thing: Any, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = save(tmp_path / "x.ckpt", {"state_dict": {"a": torch.ones(2)}, "extra": thing}, new)
    with pytest.raises(SonopaintError, match=f"x.ckpt refers to .*{name}.*nothing in it was run") as caught:
        read_pickle(path)
    assert "\n" not in str(caught.value) and not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    "program",
    [
        b"cos\nsystem\n(S'touch pwned'\ntR.",
        b"\x80\x02cos\nsystem\nX\x0b\x00\x00\x00touch pwned\x85R.",
        b"(S'touch pwned'\nios\nsystem\n.",
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x0btouch pwned\x85R.",
        b"\x80\x02\x82\x01.",
        b"Pmagic\n.",
    ],
)
def test_handmade_programs_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.pt").write_bytes(program)
    with pytest.raises(SonopaintError):
        read_pickle("x.pt")
    with zipfile.ZipFile("y.pt", "w") as archive:
        archive.writestr("archive/data.pkl", program)
    with pytest.raises(SonopaintError, match="refers to|instruction"):
        read_pickle("y.pt")
    assert not Path("pwned").exists()


@BOTH
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_truncated_files_are_refused(tmp_path: Path, new: bool, share: float) -> None:
    data = save(tmp_path / "x.ckpt", some_tensors(), new).read_bytes()
    (tmp_path / "x.ckpt").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(SonopaintError) as caught:
        read_pickle(tmp_path / "x.ckpt")
    assert "\n" not in str(caught.value)


def rewritten(path: Path, out: Path, change) -> Path:
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as archive:
        for name in old.namelist():
            archive.writestr(name, change(name, old.read(name)))
    return out


def test_tensors_that_reach_beyond_their_data_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "x.ckpt", {"a": torch.arange(100.0)}, True)
    short = rewritten(path, tmp_path / "y.ckpt", lambda n, d: d[:40] if n.endswith("data/0") else d)
    with pytest.raises(SonopaintError, match="beyond its data"):
        read_pickle(short)
    huge = save(tmp_path / "z.ckpt", {"a": torch.zeros(1).expand(1 << 20, 1 << 20)}, True)
    with pytest.raises(SonopaintError, match="beyond its data"):
        read_pickle(huge)
    many = {str(i): tied for tied in [torch.zeros(400_000)] for i in range(20)}
    with pytest.raises(SonopaintError, match="far more weights"):
        read_pickle(save(tmp_path / "w.ckpt", many, True))


def test_other_archives_and_pickles_are_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("notes.txt", "hello")
    with pytest.raises(SonopaintError, match="not one of torch.save's"):
        read_pickle(tmp_path / "x.pt")
    (tmp_path / "y.pkl").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(SonopaintError, match="not one of torch.save's"):
        read_pickle(tmp_path / "y.pkl")
    with pytest.raises(SonopaintError, match="holds no tensors"):
        read_pickle(save(tmp_path / "z.pt", {"a": 1}, True))
    with pytest.raises(SonopaintError, match="no file"):
        read_pickle(tmp_path / "nothing.pt")
    compressed = tmp_path / "c.pt"
    path = save(tmp_path / "d.pt", {"a": torch.zeros(9)}, True)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(compressed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in old.namelist():
            archive.writestr(name, old.read(name))
    with pytest.raises(SonopaintError, match="compressed"):
        read_pickle(compressed)


def test_lengths_that_lie_take_no_memory(tmp_path: Path) -> None:
    for program in (
        b"\x80\x04\x8d" + struct.pack("<Q", 1 << 62) + b"x.",  # a text of 4 EiB
        b"\x80\x02X\xff\xff\xff\x7fabc.",
        b"\x80\x02\x8b\xff\xff\xff\x7f1.",
        b"I" + b"9" * 100_000 + b"\n.",
    ):
        (tmp_path / "x.pt").write_bytes(program)
        with pytest.raises(SonopaintError):
            read_pickle(tmp_path / "x.pt")


def deflated(path: Path, program: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", program)
    return path


NUMBERS = b"]q\x00(" + b"K\x01" * 400_000 + b"e0"  # a list of 400,000 as memo 0
PAIRS = b"]q\x00(" + b"K\x01N\x86" * 100_000 + b"e0"
LAUGHS = b"(K\x01K\x01tq\x00" + b"(h\x00h\x00tq\x00" * 60  # 2^60 numbers, were they written out


GREEDY = {
    "sizes": NUMBERS + b"(" + b"ctorch\nSize\nh\x00\x85R" * 3000 + b"t.",
    "flat": NUMBERS + b"(" + b"ccollections\nOrderedDict\nh\x00\x85\x85R" * 3000 + b"t.",
    "pairs": PAIRS + b"(" + b"ccollections\nOrderedDict\nh\x00\x85R" * 3000 + b"t.",
    "shapes": NUMBERS
    + b"("
    + b"ctorch._utils\n_rebuild_tensor\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
    b"X\x01\x00\x00\x000NK\x01tQK\x00h\x00h\x00tR" * 300 + b"t.",
    "key": LAUGHS + b"0(X\x07\x00\x00\x00storagectorch\nFloatStorage\nh\x00NK\x01tQ.",
    "global": LAUGHS + b"h\x00\x93.",
    "inflated": b"(" + b"N" * 20_000_001 + b"t.",
    "numbers": b"(" + b"K\x01" * 2_000_000 + b"t.",
    "text": b"X" + struct.pack("<I", 25_000_000) + b"a" * 25_000_000 + b".",
    "marks": b"(" * 3_000_000,
}


def test_small_files_can_not_take_much_memory_or_time(tmp_path: Path) -> None:
    paths = [deflated(tmp_path / f"{name}.ckpt", b"\x80\x02" + GREEDY[name]) for name in GREEDY]
    assert all(path.stat().st_size < 300_000 for path in paths)
    code = (
        "import resource, sys, time; from sonoconvert.checkpoints.pickles import read_pickle\n"
        "from sonoconvert.errors import SonopaintError\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        "for path in sys.argv[1:]:\n"
        "    start = time.process_time()\n"
        "    try: read_pickle(path)\n"
        "    except SonopaintError as e: print(e, peak() - before, time.process_time() - start, sep='|')"
    )
    run = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True)
    lines = [line.split("|") for line in run.stdout.splitlines()]
    assert len(lines) == len(paths)
    for path, (message, kilobytes, seconds) in zip(paths, lines, strict=True):
        assert message.startswith(path.name) and int(kilobytes) < 100_000 and float(seconds) < 5, message


def test_a_key_nested_deeply_is_refused(tmp_path: Path) -> None:
    """Of a tuple 150,000 deep as the name of a storage, a hash would end Python itself."""
    head = b"".join(pickle.dumps(one, 2) for one in (0x1950A86A20F9469CFC6C, 1001, {}, {"a": 1}))
    path = tmp_path / "x.pt"
    path.write_bytes(head + b"\x80\x02]q\x00)" + b"\x85" * 50_000 + b"a.")
    with pytest.raises(SonopaintError, match="a tensor's data without a name"):
        read_pickle(path)


def test_archives_with_endless_lists_of_entries_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "x.ckpt", {"a": torch.ones(2)}, True)
    with zipfile.ZipFile(path, "a") as archive:
        for number in range(200):
            archive.writestr(f"{number}-" + "x" * 60_000, b"")
    with pytest.raises(SonopaintError, match="list of entries is too long"):
        read_pickle(path)


@BOTH
def test_a_training_state_with_its_optimiser_stays_within_the_limits(tmp_path: Path, new: bool) -> None:
    one = torch.zeros(1)
    state = {f"model.diffusion_model.blocks.{n}.weight": one for n in range(2000)}
    moments = {n: {"step": 5, "exp_avg": one, "exp_avg_sq": one} for n in range(2000)}
    optimiser = {"state": moments, "param_groups": [{"params": list(range(2000))}]}
    value = {"state_dict": state, "optimizer_states": [optimiser]}
    assert len(read_pickle(save(tmp_path / "x.ckpt", value, new)).tensors) == 2000
