"""The stack machine of pickles, without its powers: instructions that describe tensors, nothing that runs.

See Lib/pickletools.py for the instructions and torch/_utils.py for the functions that files name.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from sonoconvert.checkpoints.files import MAX_DIMENSIONS
from sonoconvert.errors import SonopaintError

MAX_WORK = 500_000  # instructions and copied items; Stable Diffusion's checkpoints need a fifth
_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
}
_UNTYPED = {"torch.storage.UntypedStorage", "torch.UntypedStorage"}
_REBUILD = {
    f"torch._utils.{name}"
    for name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_parameter")
} | {"torch._utils._rebuild_parameter_with_state", "torch._tensor._rebuild_from_type_v2", "torch.Size"}
# What training programs leave beside the weights. They are not built either: they become nothing.
_HARMLESS = {
    f"{module}.{name}"
    for module in ("builtins", "__builtin__")
    for name in ("bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "long")
    + ("object", "range", "set", "slice", "str", "tuple")
} | {
    "argparse.Namespace",
    "_codecs.encode",
    "collections.defaultdict",
    "collections.Counter",
    "numpy.dtype",
    "numpy.ndarray",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
    "pytorch_lightning.callbacks.early_stopping.EarlyStopping",
    "pathlib.PosixPath",
    "pathlib.WindowsPath",
    "torch.device",
    "torch.nn.parameter.Parameter",
}

_KNOWN = _REBUILD | _HARMLESS


@dataclass(frozen=True)
class _Global:
    name: str  # module.name, never imported


@dataclass(frozen=True)
class Storage:
    dtype: torch.dtype | None  # None: bytes
    key: str
    count: int


@dataclass(frozen=True)
class Tensor:
    storage: Storage
    dtype: torch.dtype
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class _Nothing:
    """Stands for a thing that is neither tensor nor container."""


def run(path: Path, program: BytesIO, storages: dict[str, Storage] | None = None) -> Any:
    """What the pickle at the program's position describes: numbers, texts, containers, Tensor.

    `storages` gets what the tensors lie in, by their keys; `path` is for messages. Raises
    SonopaintError for references to anything but tensors, and ValueError, LookupError, TypeError or the like
    for damage and for more than MAX_WORK.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def pop_mark() -> list[Any]:
        start = marks.pop()
        items = stack[start:]
        del stack[start:]
        return items

    work = 0
    argument: Any
    for opcode, argument, _ in pickletools.genops(program):
        name = opcode.name
        work += 1
        if work > MAX_WORK:
            raise ValueError("it describes more than any weights need")
        if name in _PUSHED:
            stack.append(_PUSHED[name](argument))
        elif name in ("PROTO", "FRAME"):
            pass
        elif name == "MARK":
            marks.append(len(stack))
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(memo[argument])
        elif name == "TUPLE":
            stack.append(tuple(pop_mark()))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            stack[-count:] = [tuple(stack[-count:])]
        elif name in ("LIST", "DICT"):
            items = pop_mark()
            stack.append(items if name == "LIST" else _pairs(items))
        elif name in ("APPEND", "APPENDS"):
            items = pop_mark() if name == "APPENDS" else [stack.pop()]
            if isinstance(stack[-1], list):
                stack[-1].extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = pop_mark() if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
            if isinstance(stack[-1], dict):
                stack[-1].update(_pairs(items))
        elif name == "ADDITEMS":
            pop_mark()
        elif name == "GLOBAL":
            stack.append(_global(path, argument.replace(" ", ".", 1)))
        elif name == "STACK_GLOBAL":
            last, module = stack.pop(), stack.pop()
            if not isinstance(last, str) or not isinstance(module, str):
                raise ValueError("a reference without a name")
            stack.append(_global(path, f"{module}.{last}"))
        elif name == "BINPERSID":
            stack.append(_storage(stack.pop(), storages))
        elif name in ("REDUCE", "NEWOBJ"):
            arguments, function = stack.pop(), stack.pop()
            work += _items(arguments)
            stack.append(_call(function, arguments))
        elif name == "BUILD":
            stack.pop()  # attributes of what lies below: of no use for tensors
        elif name == "POP":
            stack.pop()
        elif name == "STOP":
            return stack.pop()
        else:
            raise SonopaintError(
                f"{path.name} has the instruction {name}, which no weights need; nothing in it was run."
            )
    raise ValueError("it ends in the middle")


_Push = Callable[[Any], Any]
_PUSHED: dict[str, _Push] = {
    **dict.fromkeys(
        ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        lambda value: value,
    ),
    **dict.fromkeys(
        (
            "UNICODE",
            "BINUNICODE",
            "SHORT_BINUNICODE",
            "BINUNICODE8",
            "STRING",
            "BINSTRING",
            "SHORT_BINSTRING",
        ),
        str,
    ),
    **dict.fromkeys(("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"), lambda _: _Nothing()),
    "NONE": lambda _: None,
    "NEWTRUE": lambda _: True,
    "NEWFALSE": lambda _: False,
    "EMPTY_TUPLE": lambda _: (),
    "EMPTY_LIST": lambda _: [],
    "EMPTY_DICT": lambda _: {},
    "EMPTY_SET": lambda _: _Nothing(),
}


def _pairs(items: list[Any]) -> dict[Any, Any]:
    keys = (key if isinstance(key, (str, int)) else f"({type(key).__name__})" for key in items[::2])
    return dict(zip(keys, items[1::2], strict=True))


def _global(path: Path, name: str) -> _Global:
    module, _, last = name.rpartition(".")
    storage = module in ("torch", "torch.storage") and (last in _DTYPES or name in _UNTYPED)
    dtype = module == "torch" and isinstance(getattr(torch, last, None), torch.dtype)
    if storage or dtype or name == "collections.OrderedDict" or name in _KNOWN:
        return _Global(name)
    raise SonopaintError(
        f"{path.name} refers to {name[:100]}, which no weights need; it is not opened, and nothing in it was "
        "run. Get the model as .safetensors, or from somebody you trust."
    )


def _storage(identifier: Any, storages: dict[str, Storage] | None) -> Storage:
    kind, storage_type, key, _, count, *view = identifier
    name = storage_type.name.rpartition(".")[2]
    known = kind == "storage" and isinstance(key, (str, int)) and type(count) is int and count >= 0
    if not known or any(part is not None for part in view):
        raise ValueError("an unknown kind of storage")
    dtype = None if storage_type.name in _UNTYPED else _DTYPES[name]
    storage = Storage(dtype, str(key), count)
    if storages is not None and storages.setdefault(storage.key, storage) != storage:
        raise ValueError("a storage is described twice")
    return storage


def _items(arguments: Any) -> int:
    """How much a call copies: a few bytes can ask again and again for the copy of a long list."""
    first = arguments[0] if isinstance(arguments, tuple) and arguments else None
    return len(first) if isinstance(first, (tuple, list, dict)) else 0


def _call(function: Any, arguments: Any) -> Any:
    """What torch's function would have built, as a description; nothing of anything else."""
    name = function.name if isinstance(function, _Global) else ""
    if name == "collections.OrderedDict":
        return _pairs([one for key, value in (arguments[0] if arguments else ()) for one in (key, value)])
    if name not in _REBUILD:
        return _Nothing()
    if name == "torch.Size":
        return _sizes(arguments[0])
    if name.startswith("torch._utils._rebuild_parameter"):
        return arguments[0]
    if name == "torch._tensor._rebuild_from_type_v2":
        return _call(arguments[0], arguments[2])
    storage, offset, shape, stride = arguments[:4]
    dtype = storage.dtype
    if name.endswith("_v3"):
        dtype = getattr(torch, arguments[6].name.removeprefix("torch."), None)
    if not isinstance(dtype, torch.dtype):
        raise ValueError("a tensor without a type")
    return Tensor(storage, dtype, offset, _sizes(shape), _sizes(stride))


def _sizes(items: Any) -> tuple[int, ...]:
    if len(items) > MAX_DIMENSIONS:
        raise ValueError("a tensor of an impossible size")
    return tuple(items)
