"""Reading and writing safetensors, tensor by tensor: one sentence for each way in which a file can be wrong.

The format: 8 bytes with the length of a JSON header, the header ({name: dtype, shape, offsets}), the tensors
(https://github.com/huggingface/safetensors#format). Files are read here, not mapped, so that a file that
shrinks or a disk that fails is an error and no crash, and memory holds one tensor at a time.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sonoconvert.errors import SonopaintError, plain, setting
from sonoconvert.files.atomic import atomic_path

PICKLES = {".ckpt", ".pt", ".pth", ".bin", ".pkl"}
# Stable Diffusion's files have two thousand tensors; a LoRA's header with all its tags and a picture has a
# million bytes.
MAX_HEADER = 8_000_000  # bytes
MAX_TENSORS = 50_000
MAX_DIMENSIONS = 32
_NAMES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
    "C64": "complex64",
}
# Some came to torch after 2.1.
DTYPES: dict[str, torch.dtype] = {
    key: getattr(torch, name) for key, name in _NAMES.items() if hasattr(torch, name)
}
_KEYS = {dtype: key for key, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Stored:
    """A tensor that still lies in its file: its type, its shape, and `load()`, which reads it."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    load: Callable[[], torch.Tensor]

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def reshape(self, shape: tuple[int, ...]) -> Stored:
        """The same numbers in another shape."""
        return Stored(self.dtype, tuple(shape), lambda: self.load().reshape(shape))

    def to(self, dtype: torch.dtype) -> Stored:
        """Floating numbers as `dtype`; others stay."""
        if not self.dtype.is_floating_point or self.dtype == dtype:
            return self
        return Stored(dtype, self.shape, lambda: self.load().to(dtype))


def stored(tensor: torch.Tensor) -> Stored:
    """A tensor in memory as a Stored."""
    return Stored(tensor.dtype, tuple(tensor.shape), lambda: tensor)


def check_weights_path(path: str | Path) -> Path:
    """The path of a readable .safetensors file, or a SonopaintError that says what to do."""
    path = Path(path)
    if path.suffix.lower() in PICKLES:
        raise SonopaintError(
            f"{path.name} is a pickle, which can run code when opened; convert it to .safetensors first "
            f"(sonoconvert checkpoint {path.name} {path.stem}.safetensors)."
        )
    if not path.is_file():
        raise SonopaintError(f"There is no file {path}; check the name or the models folder.")
    if path.suffix.lower() != ".safetensors":
        raise SonopaintError(
            f"{path.name} is not a .safetensors file, the only kind of weights that is read."
        )
    return path


def read_stored(path: str | Path) -> tuple[dict[str, Stored], dict[str, str]]:
    """({tensor name: Stored}, metadata) of a safetensors file, its header checked against its size.

    Raises SonopaintError for a file that is missing, truncated, or whose header lies about sizes, offsets or
    types.
    """
    path = check_weights_path(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise SonopaintError(f"{path.name} is truncated or no safetensors file; download it again.")
        if length > MAX_HEADER:
            raise SonopaintError(
                f"{path.name} has a header of {length} bytes, which no weights need ({MAX_HEADER} is the "
                "limit); it is not opened."
            )
        raw = file.read(length)
    try:
        header = json.loads(raw, object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError) as error:
        raise SonopaintError(f"{path.name} has a damaged header; download it again.") from error
    metadata = header.pop("__metadata__", {}) if isinstance(header, dict) else None
    told = isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())
    if not isinstance(header, dict) or not isinstance(metadata, dict) or not told:
        raise SonopaintError(f"{path.name} has a damaged header; download it again.")
    if not header:
        raise SonopaintError(f"{path.name} holds no tensors.")
    if len(header) > MAX_TENSORS:
        raise SonopaintError(f"{path.name} names {len(header)} tensors; {MAX_TENSORS} is the limit.")
    entries = {name: _entry(path, name, entry) for name, entry in header.items()}
    end = 0
    for name, (_, _, first, last) in sorted(entries.items(), key=lambda item: item[1][2:]):
        if first != end:
            what = "overlaps the one before it" if first < end else "leaves a hole before it"
            raise SonopaintError(
                f"{path.name} has a damaged header (tensor {name!r} {what}); download it again."
            )
        end = last
    if end != size - 8 - length:
        raise SonopaintError(
            f"{path.name} is truncated or damaged: it holds {size - 8 - length} bytes of weights where its "
            f"header says {end}; download it again."
        )
    tensors = {
        name: Stored(dtype, shape, reader(path, 8 + length + first, dtype, shape))
        for name, (dtype, shape, first, _) in entries.items()
    }
    return tensors, metadata


def read_header(path: str | Path) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """({tensor name: shape}, metadata) of a safetensors file, without reading its tensors."""
    tensors, metadata = read_stored(path)
    return {name: tensor.shape for name, tensor in tensors.items()}, metadata


def read_tensors(path: str | Path, *, dtype: torch.dtype | None = torch.float32) -> dict[str, torch.Tensor]:
    """All tensors of a safetensors file, on the CPU; floating ones as `dtype` (None: as stored)."""
    result = {}
    for name, tensor in read_stored(path)[0].items():
        value = tensor.load()
        result[name] = value.to(dtype) if dtype is not None and value.is_floating_point() else value
    return result


def check_shapes(
    path: str | Path, found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]
) -> None:
    """SonopaintError where a file's tensors are not those of the network that its header describes."""
    if wrong := sorted(dict(expected).items() ^ dict(found).items()):
        raise SonopaintError(
            f"{Path(path).name} does not fit its own description (tensor {wrong[0][0]}); get it anew."
        )


def write_tensors(
    path: str | Path,
    tensors: Mapping[str, torch.Tensor | Stored],
    metadata: Mapping[str, str] | None = None,
    *,
    allow_nan: bool = False,
    force: bool = False,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Write a safetensors file, one tensor in memory at a time; in place only when it is complete.

    `progress(share)` is called after each tensor and may raise Cancelled. Raises SonopaintError where the
    file exists and `force` is not set, for weights that are no numbers (unless `allow_nan`), and for a full
    disk; nothing is left behind then.
    """
    path = Path(path)
    items = {name: stored(t) if isinstance(t, torch.Tensor) else t for name, t in tensors.items()}
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    order = serial_order(items)
    total = 0
    for name in order:
        item = items[name]
        if item.dtype not in _KEYS:
            raise SonopaintError(f"{name} can't be written: safetensors knows no {item.dtype}.")
        header[name] = {
            "dtype": _KEYS[item.dtype],
            "shape": list(item.shape),
            "data_offsets": [total, total := total + item.bytes],
        }
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise SonopaintError(
            f"{path.name} would have a header of {len(text)} bytes; {MAX_HEADER} is the limit."
        )
    bad = []
    with atomic_path(path, force=force) as beside:
        try:
            with beside.open("wb") as file:
                file.write(len(text).to_bytes(8, "little") + text)
                done = 0
                for name in order:
                    tensor = items[name].load().detach().cpu().contiguous()
                    if tensor.dtype != items[name].dtype or tuple(tensor.shape) != items[name].shape:
                        raise ValueError(f"{name} is not what it promised to be")
                    if not allow_nan and not is_finite(tensor):
                        bad.append(name)
                    file.write(memory(tensor))
                    done += items[name].bytes
                    if progress is not None:
                        progress(done / max(1, total))
        except OSError as error:
            raise SonopaintError(
                f"{path} could not be written ({error.strerror or error}; {total / 1e6:.0f} MB are needed); "
                "make room on the disk or choose another folder."
            ) from error
        if bad:
            raise SonopaintError(
                f"The weights are broken: {listed(bad)} {'hold' if len(bad) > 1 else 'holds'} infinite "
                f"values or ones that are no numbers (NaN); get the model anew, or allow them "
                f"({setting('allow_nan')})."
            )


def serial_order(tensors: Mapping[str, torch.Tensor | Stored]) -> list[str]:
    """The names in the order in which a file holds their tensors: wide numbers first, so all are aligned."""
    return sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))


def is_finite(tensor: torch.Tensor) -> bool:
    """Whether a tensor holds only finite numbers (those that aren't floating do)."""
    if not tensor.is_floating_point():
        return True
    pieces = tensor.reshape(-1).split(1 << 22)  # isfinite needs as much memory again
    return all(bool(torch.isfinite(p.float() if p.dtype.itemsize == 1 else p).all()) for p in pieces)


def listed(names: Iterable[str], most: int = 5) -> str:
    """The first few names and how many more there are, for messages."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return plain(", ".join(names[:most]) + more)


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name stands there twice")
    return result


def _entry(path: Path, name: str, entry: Any) -> tuple[torch.dtype, tuple[int, ...], int, int]:
    """(dtype, shape, first byte, byte after the last) of one tensor in a header."""
    damaged = SonopaintError(
        f"{path.name} has a damaged header (the entry of tensor {name[:80]!r}); download it again."
    )
    if not isinstance(entry, dict):
        raise damaged
    kind, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(kind, str) or not isinstance(shape, list) or not isinstance(offsets, list):
        raise damaged
    if kind not in DTYPES:
        raise SonopaintError(
            f"{path.name} holds numbers of an unknown type, {kind[:20]!r} (tensor {name[:80]!r})."
        )
    if len(shape) > MAX_DIMENSIONS or len(offsets) != 2:
        raise damaged
    if not all(type(n) is int and 0 <= n < 1 << 62 for n in (*shape, *offsets)):
        raise damaged
    if offsets[1] - offsets[0] != math.prod(shape) * DTYPES[kind].itemsize:
        raise damaged
    return DTYPES[kind], tuple(shape), offsets[0], offsets[1]


def reader(path: Path, start: int, dtype: torch.dtype, shape: tuple[int, ...]) -> Callable[[], torch.Tensor]:
    def load() -> torch.Tensor:
        tensor = torch.empty(shape, dtype=dtype)
        view = memory(tensor)
        try:
            with path.open("rb") as file:
                file.seek(start)
                if len(view) and file.readinto(view) != len(view):
                    raise SonopaintError(f"{path.name} ended too early; download it again.")
        except OSError as error:
            raise SonopaintError(f"{path.name} can't be read ({error.strerror or error}).") from error
        return tensor

    return load


def memory(tensor: torch.Tensor) -> memoryview:
    """The bytes of a contiguous tensor on the CPU, as they stand in a file (little-endian machines only)."""
    return tensor.reshape(-1).view(torch.uint8).numpy().data
