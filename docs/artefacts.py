"""What in this repository the shipped weights make, of which weights, and the stamp that says so in each.

A stamp is text such as "mini 3f2a91c04d, inpaint none": in PNGs a text chunk, in JPEGs the comment, in sounds
a tag, in JSON a key, in Markdown a comment.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sonoconvert.files.atomic import atomic_path
from sonoconvert.files.tags import add_tags, read_tags

ROOT = Path(__file__).resolve().parent.parent
KEY = "sonopaint.weights"
TAG = "sonopaint_weights"
GROUPS = {
    "mini": (
        "weights/mini/unet.safetensors",
        "weights/mini/vae.safetensors",
        "weights/mini/text_encoder.safetensors",
    ),
    "inpaint": ("weights/mini/inpaint.safetensors", "weights/classifier/parts.safetensors"),
    "grain": ("weights/mini/grain.safetensors",),
    "decoder": ("weights/vocoder/sonopaint-mini*.safetensors",),
    "curves": ("weights/mini/curves.safetensors",),
    "one-step": ("weights/mini-one-step/*.safetensors",),
    "subjects": ("weights/subjects/*.safetensors",),
    "classifier": ("weights/classifier/classifier.safetensors",),
    "jingles": ("weights/jingles/*.safetensors",),
    "blend": ("weights/blend/*.safetensors",),
    "match": ("weights/match/*.safetensors",),
}
WHOLE, PARTS = (
    ("mini", "grain"),
    ("mini", "inpaint", "grain"),
)  # pictures of whole sounds, and of sounds repainted in part
JUDGED = (*PARTS, "classifier")


@dataclass(frozen=True)
class Artefacts:
    """Files (a glob below the repository) that one step makes from the weights of some groups."""

    step: str
    files: str
    groups: tuple[str, ...]


# The step is a script of this folder (make_all.py knows how to start it).
ALL = (
    Artefacts("contact_sheet", "docs/images/mini.png", WHOLE),
    Artefacts("subject_sheet", "docs/images/subjects.png", ("mini", "grain", "one-step", "subjects")),
    Artefacts("jingle_demo", "docs/images/jingle.png", ("mini", "jingles")),
    Artefacts("jingle_demo", "docs/demo/jingle/*.ogg", ("mini", "decoder", "jingles")),
    Artefacts("curves_demo", "docs/images/curves.png", ("mini", "grain", "curves")),
    Artefacts("curves_demo", "docs/demo/curves/*.ogg", ("mini", "grain", "decoder", "curves")),
    Artefacts("blend_demo", "docs/demo/blend/*", ("mini", "decoder", "blend", "classifier")),
    Artefacts("screenshots", "docs/images/studio-generate*.png", WHOLE),
    Artefacts("screenshots", "docs/images/studio-edit*.png", PARTS),
    Artefacts("screenshots", "docs/images/studio-match*.png", ("match",)),
    Artefacts("demo", "docs/demo/forest.*", WHOLE),
    Artefacts("demo", "docs/demo/studio/*", JUDGED),
    Artefacts("demo", "docs/demo/measurements.json", JUDGED),
    Artefacts("demo", "docs/demo/README.md", JUDGED),
    Artefacts("webui", "docs/images/webui-generate.png", WHOLE),
    Artefacts("webui", "docs/demo/webui/*", JUDGED),
    Artefacts("comfyui", "docs/images/comfyui-generate.png", WHOLE),
    Artefacts("comfyui", "docs/images/comfyui-inpaint.png", PARTS),
    Artefacts("comfyui", "docs/images/comfyui-region.png", PARTS),
    Artefacts("comfyui", "docs/images/comfyui-interpolate.png", WHOLE),
    Artefacts("comfyui", "docs/images/comfyui-one-step.png", ("mini", "grain", "one-step", "subjects")),
    Artefacts("comfyui", "docs/images/comfyui-curves.png", ("mini", "grain", "curves")),
    Artefacts("comfyui", "example_workflows/Voice to train horn.jpg", ("mini", "grain", "curves")),
    Artefacts("comfyui", "example_workflows/Draw the loudness.jpg", ("mini", "grain", "curves")),
    Artefacts("comfyui", "example_workflows/Generate a sound.jpg", WHOLE),
    Artefacts("comfyui", "example_workflows/Vary a recording.jpg", WHOLE),
    Artefacts("comfyui", "example_workflows/Inpaint a box.jpg", PARTS),
    Artefacts("comfyui", "example_workflows/Extend both sides.jpg", PARTS),
    Artefacts("comfyui", "example_workflows/Seamless loop.jpg", WHOLE),
    Artefacts("comfyui", "example_workflows/Long ambience.jpg", WHOLE),
    Artefacts("comfyui", "example_workflows/Interpolate A to B.jpg", WHOLE),
    Artefacts("comfyui", "example_workflows/LoRA.jpg", ("mini", "grain", "subjects")),
    Artefacts("comfyui", "example_workflows/One-step subject.jpg", ("mini", "grain", "one-step", "subjects")),
    Artefacts("comfyui", "example_workflows/Batch of variations.jpg", WHOLE),
    Artefacts("comfyui", "example_workflows/Choose variations.jpg", WHOLE),
    Artefacts("comfyui", "example_workflows/Blend three sounds.jpg", ("mini", "blend")),
    Artefacts("comfyui", "example_workflows/Match and edit.jpg", ("match",)),
)  # fmt: skip


@lru_cache
def weights_hash(group: str) -> str:
    """The beginning of the SHA-256 of a group's files; "none" where there are none."""
    paths = sorted(path for pattern in GROUPS[group] for path in ROOT.glob(pattern))
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:10] if paths else "none"


def present(groups: tuple[str, ...]) -> str:
    """The stamp of the weights that are here now."""
    return ", ".join(f"{group} {weights_hash(group)}" for group in groups)


def stamped(path: Path) -> str | None:
    """The stamp in a file."""
    kind = path.suffix.lower()
    if kind in (".png", ".jpg"):
        with Image.open(path) as image:
            found = image.info.get(KEY) or image.info.get("comment")
        return found.decode() if isinstance(found, bytes) else found
    if kind in (".ogg", ".flac"):
        return read_tags(path).get(TAG)
    text = path.read_text(encoding="utf-8")
    if kind == ".json":
        return json.loads(text).get(KEY)
    match = re.search(rf"<!-- {KEY}: (.*?) -->", text)
    return match[1] if match else None


def stamp(path: Path, text: str) -> None:
    """Put a stamp into a file, in place of the one that it has; its picture or sound stays as it is."""
    kind = path.suffix.lower()
    if kind in (".ogg", ".flac"):
        add_tags(path, {TAG: text})
        return
    with atomic_path(path, force=True) as beside:
        if kind == ".png":
            with Image.open(path) as image:
                info = PngInfo()
                info.add_text(KEY, text)
                image.save(beside, format="PNG", pnginfo=info, optimize=True)
        elif kind == ".jpg":
            with Image.open(path) as image:
                image.save(beside, format="JPEG", quality="keep", comment=text)
        elif kind == ".json":
            content = json.loads(path.read_text(encoding="utf-8")) | {KEY: text}
            beside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        else:
            before = re.sub(rf"<!-- {KEY}: .*? -->\n", "", path.read_text(encoding="utf-8"))
            beside.write_text(f"{before}<!-- {KEY}: {text} -->\n", encoding="utf-8")


def old(one: Artefacts) -> list[Path]:
    """The files that are not of the present weights; one that is missing stands with its glob's name."""
    paths = sorted(ROOT.glob(one.files)) or [ROOT / one.files]
    wanted = present(one.groups)
    return [path for path in paths if not path.is_file() or stamped(path) != wanted]
