"""Header metadata: ModelSpec 1.0.1, kohya's ``ss_*`` and our own ``sonopaint.*``.

https://github.com/Stability-AI/ModelSpec; kohya's keys: train_network.py of sd-scripts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone

from sonoconvert.errors import SonopaintError

VERSION = "1.0.1"
MUST = (
    "sai_model_spec",
    "architecture",
    "implementation",
    "title",
)  # and resolution, where there are pictures
FIELDS = {
    *MUST,
    *("resolution", "description", "author", "date", "hash_sha256", "license", "usage_hint", "thumbnail"),
    *("tags", "merged_from", "trigger_phrase", "prediction_type", "timestep_range", "encoder_layer"),
    *("preprocessor", "is_negative_embedding", "unet_dtype", "vae_dtype"),
}
_PREFIXES = ("modelspec.", "ss_", "sonopaint.")


def completed(
    header: Mapping[str, str], *, architecture: str, title: str, implementation: str = "diffusers"
) -> dict[str, str]:
    """A header with what ModelSpec demands, where it is not there yet."""
    return {
        "modelspec.sai_model_spec": VERSION,
        "modelspec.architecture": architecture,
        "modelspec.implementation": implementation,
        "modelspec.title": title,
        "modelspec.date": datetime.now(timezone.utc).date().isoformat(),
        **header,
    }


def parse_entries(entries: Iterable[str]) -> dict[str, str]:
    """{key: value} of "key=value" texts; keys begin with modelspec., ss_ or sonopaint.

    ``sonopaint.format`` takes a format's name. Raises SonopaintError for anything else.
    """
    from sonoconvert.pictures.format import get_format

    result = {}
    for entry in entries:
        key, equals, value = entry.partition("=")
        if not equals or not key.startswith(_PREFIXES) or len(value) > 1_000_000:
            raise SonopaintError(
                f"{entry[:60]!r} is no header entry; write KEY=VALUE with a key like modelspec.title, "
                "ss_output_name or sonopaint.format."
            )
        if key.startswith("modelspec.") and key.removeprefix("modelspec.") not in FIELDS:
            raise SonopaintError(f"ModelSpec has no field {key.removeprefix('modelspec.')!r}.")
        if key == "sonopaint.format":
            value = json.dumps(get_format(value).to_dict())
        result[key] = value
    return result
