"""What the tab calls its fields, and so what its errors call the settings; the API has their own names."""

from __future__ import annotations

from sonoconvert.errors import SonopaintError

LABELS = {
    "cfg_scale": "CFG scale",
    "fill": "Masked content",
    "invert": "Paint everything else",
    "heal": "Heal: without words",
    "feather": "Soft edge (s)",
    "left": "Seconds before",
    "right": "Seconds after",
    "left_prompt": "Prompt before",
    "right_prompt": "Prompt after",
    "seam": "Seam (s)",
    "seconds": "Length (s)",
    "to_prompt": "To this prompt",
    "to_seed": "To this seed",
    "surroundings": "Level and background",
    "clips": "Sounds on the way",
    "student": "One-step file",
    "count": "How many",
    "keep": "Keep the sound's",
    "choose": "Replace copies and drifts",
    "format": "Spectrogram format",
    "scheduler": "Schedule type",
    "sampler": "Sampling method",
    "iterations": "Phase iterations",
    "exact": "Bring the sound to the curves",
    # the sub-tabs that train
    "noun": "What is it?",
    "token": "Its own word",
    "alpha": "Faithful to the clips",
    "trigger": "Trigger word",
}
# Settings of errors from below that are called otherwise here.
_ARGUMENTS = {"guidance_scale": "cfg_scale", "batch": "count"}


def label(name: str) -> str:
    """The label of a field of the tab."""
    return LABELS.get(name, name.replace("_", " ").capitalize())


def said(error: Exception) -> str:
    """An error's sentence for the page."""
    if not isinstance(error, SonopaintError):
        return str(error)
    return error.told(lambda name: f"“{label(_ARGUMENTS.get(name, name))}”")


def answered(error: SonopaintError) -> str:
    """An error's sentence for the API, whose fields have the arguments' own names."""
    return error.told(lambda name: _ARGUMENTS.get(name, name))
