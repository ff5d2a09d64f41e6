"""Weights out of pickles (.ckpt, .pt, .pth, .bin) without running anything that is in them.

A pickle is a program for a small stack machine whose instructions may import and call any function. Here
nothing is imported and nothing is called: the instructions are only read, and the few that torch.save needs
build plain descriptions of tensors (pickle_program.py). Whatever else a file refers to is refused by name.
(torch.load(weights_only=True) of PyTorch before 2.6 can be made to run code: CVE-2025-32434.)

Formats: torch.save's zip archive (PyTorch 1.6 and later) and its older stream of pickles; see
torch/serialization.py. Tensors are read from the file one by one, when they are needed.
"""

from __future__ import annotations

import io
import itertools
import math
import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from sonoconvert.checkpoints.files import MAX_DIMENSIONS, MAX_TENSORS, Stored, reader
from sonoconvert.checkpoints.pickle_program import Storage, Tensor, run
from sonoconvert.errors import SonopaintError

MAX_PROGRAM = 20_000_000  # bytes of instructions; Stable Diffusion's checkpoints have less than a million
MAX_DIRECTORY = 10_000_000  # bytes of a zip archive's list of entries
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_DAMAGE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)


@dataclass(frozen=True)
class PickledWeights:
    """`tensors` by their names; `left_out` names what else the file holds (epochs, optimisers …)."""

    tensors: dict[str, Stored]
    left_out: list[str] = field(default_factory=list)


def read_pickle(path: str | Path) -> PickledWeights:
    """The tensors of a file that torch.save wrote; nothing in it is run.

    A ``state_dict`` inside counts as the whole; other nested names are joined by dots. Raises SonopaintError
    for a file that refers to anything but tensors (named), is damaged, or holds none.
    """
    path = Path(path)
    if not path.is_file():
        raise SonopaintError(f"There is no file {path}; check the name.")
    try:
        with path.open("rb") as file:
            start = file.read(4)
            file.seek(0)
            if start == b"PK\x03\x04":
                root, places = _read_zip(path, file)
            else:
                root, places = _read_stream(path, file)
        return _weights(path, root, places)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, *_DAMAGE) as error:
        if isinstance(error, SonopaintError):
            raise
        raise SonopaintError(
            f"{path.name} is damaged ({error or type(error).__name__}); get it anew."
        ) from error
    except OSError as error:
        raise SonopaintError(f"{path.name} can't be read ({error.strerror or error}).") from error


Places = Mapping[str, tuple[int, int]]  # storage's key → (first byte in the file, bytes)


def _read_zip(path: Path, file: IO[bytes]) -> tuple[Any, Places]:
    with zipfile.ZipFile(cast(IO[bytes], _InPieces(file))) as archive:
        entries = {info.filename: info for info in archive.infolist()}
        programs = [name for name in entries if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(programs) != 1:
            raise SonopaintError(f"{path.name} is a zip archive, but not one of torch.save's.")
        folder = programs[0].removesuffix("data.pkl")
        info = entries[programs[0]]
        if info.file_size > MAX_PROGRAM:
            raise ValueError("its list of tensors is too long")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError("its list of tensors is compressed in an unknown way")
        order = entries.get(f"{folder}byteorder")
        if order is not None and order.file_size < 100 and archive.read(order).strip() == b"big":
            raise SonopaintError(f"{path.name} was written on a big-endian machine, which can't be read.")
        places = {}
        size = path.stat().st_size
        for name, entry in entries.items():
            if not name.startswith(f"{folder}data/"):
                continue
            if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
                raise ValueError("its tensors are compressed or encrypted")
            file.seek(entry.header_offset)
            head = struct.unpack("<4s22xHH", file.read(30))
            first = entry.header_offset + 30 + head[1] + head[2]
            if head[0] != b"PK\x03\x04" or first + entry.file_size > size:
                raise ValueError("an entry lies outside of the file")
            places[name.removeprefix(f"{folder}data/")] = (first, entry.file_size)
        root = run(path, io.BytesIO(archive.read(info)))
    return root, places


class _InPieces:
    """A file that can't be asked for much at once (zipfile reads a list of entries of any length)."""

    def __init__(self, file: IO[bytes]) -> None:
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable
        self.file = file

    def read(self, count: int = -1) -> bytes:
        data = self.file.read(min(count, MAX_DIRECTORY) if count >= 0 else MAX_DIRECTORY)
        if count > len(data) == MAX_DIRECTORY:
            raise ValueError("its list of entries is too long")
        return data


def _read_stream(path: Path, file: IO[bytes]) -> tuple[Any, Places]:
    size = path.stat().st_size
    program = io.BytesIO(file.read(MAX_PROGRAM))
    if run(path, program) != _LEGACY_MAGIC:
        raise SonopaintError(
            f"{path.name} is a pickle, but not one of torch.save's; no weights can be read from it."
        )
    run(path, program)  # the protocol's version
    run(path, program)  # sizes of integers on the machine that wrote it
    storages: dict[str, Storage] = {}
    root = run(path, program, storages)
    keys = run(path, program)
    file.seek(program.tell())
    places = {}
    for key in keys:
        if not isinstance(key, str):  # of a tuple a hundred thousand deep no hash is asked: Python would die
            raise ValueError("a tensor's data without a name")
        storage = storages[key]
        (count,) = struct.unpack("<q", file.read(8))
        length = count * (storage.dtype.itemsize if storage.dtype else 1)
        if count != storage.count or not 0 <= length <= size - file.tell():
            raise ValueError("a tensor's data is cut off")
        places[key] = (file.tell(), length)
        file.seek(length, 1)
    return root, places


def _weights(path: Path, root: Any, places: Places) -> PickledWeights:
    found = _tensors(root)
    inner = root.get("state_dict") if isinstance(root, dict) else None
    left_out: list[str] = []
    if isinstance(inner, dict) and (own := _tensors(inner)):
        left_out = [str(key) for key in root if key != "state_dict"]
        found = own
    elif isinstance(root, dict):
        tops = {name.partition(".")[0] for name in found}
        left_out = [str(key) for key in root if str(key).partition(".")[0] not in tops]
    if not found:
        raise SonopaintError(f"{path.name} holds no tensors.")
    tensors = {name: _stored(path, tensor, places) for name, tensor in found.items()}
    if sum(tensor.bytes for tensor in tensors.values()) > 2 * path.stat().st_size + 1_000_000:
        raise SonopaintError(f"{path.name} describes far more weights than it holds; it is not opened.")
    return PickledWeights(tensors, left_out)


def _tensors(value: Any) -> dict[str, Tensor]:
    found = dict(itertools.islice(_named(value, set()), MAX_TENSORS + 1))
    if len(found) > MAX_TENSORS:
        raise ValueError(f"it has more than {MAX_TENSORS} tensors")
    return found


def _named(value: Any, above: set[int], prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """(dotted name, tensor) of all tensors in nested dictionaries and lists, each container once."""
    if isinstance(value, Tensor):
        yield prefix or "tensor", value
    elif isinstance(value, (dict, list, tuple)) and id(value) not in above and len(prefix) < 2000:
        above.add(id(value))
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from _named(inner, above, f"{prefix}.{key}" if prefix else str(key))


def _stored(path: Path, tensor: Tensor, places: Places) -> Stored:
    numbers = (tensor.offset, *tensor.shape, *tensor.stride)
    if not all(type(n) is int and 0 <= n < 1 << 62 for n in numbers) or len(tensor.shape) > MAX_DIMENSIONS:
        raise ValueError("a tensor of an impossible size")
    if len(tensor.shape) != len(tensor.stride):
        raise ValueError("a tensor with a wrong stride")
    first, length = places[tensor.storage.key]
    width, count = tensor.dtype.itemsize, math.prod(tensor.shape)
    span = (
        1 + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride, strict=True)) if count else 0
    )
    held = length // width
    if tensor.offset + span > held or count > held:
        raise ValueError("a tensor reaches beyond its data")
    start = first + tensor.offset * width
    if span == count and tensor.stride == _contiguous(tensor.shape, tensor.stride):
        return Stored(tensor.dtype, tensor.shape, reader(path, start, tensor.dtype, tensor.shape))
    load = reader(path, start, tensor.dtype, (span,))
    return Stored(
        tensor.dtype, tensor.shape, lambda: load().as_strided(tensor.shape, tensor.stride).contiguous()
    )


def _contiguous(shape: tuple[int, ...], given: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of a tensor in row order; where a side is 1 its stride means nothing and stays as given."""
    strides, step = [], 1
    for n, stride in zip(reversed(shape), reversed(given), strict=True):
        strides.append(stride if n == 1 else step)
        step *= n
    return tuple(reversed(strides))
