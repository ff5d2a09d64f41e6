"""What Studio's pages call the settings that errors speak of."""

from __future__ import annotations

from sonoconvert.errors import SonopaintError

_CALLED = {
    "prompt": "the prompt",
    "negative_prompt": "“What should not be in it?”",
    "guidance_scale": "“Guidance”",
    "batch": "“How many”",
    "strength": "“How different”",
    "surroundings": "“Level and background”",
    "left": "“Seconds before”",
    "right": "“Seconds after”",
    "feather": "“Soft edge”",
    "format": "kind of picture",
    "out": "name",
    "resume": "“Resume”",
    "noun": "“What is it?”",
    "token": "“Its own word”",
    "alpha": "“Faithful to the clips”",
    "windows": "“Long recordings”",
    "max_windows": "“Clips of one recording”",
    "validation": "“For validation”",
    "test": "“For the evaluation”",
    "silence_db": "“Silence”",
    "max_unreadable": "“Unreadable files”",
    "force": "“Make anew”",
}


def said(error: Exception) -> str:
    """An error's sentence with the words of the pages; most fields are labelled by the setting's own name."""
    if not isinstance(error, SonopaintError):
        return str(error)
    text = error.told(lambda name: _CALLED.get(name, f"“{name.replace('_', ' ').capitalize()}”"))
    return text[:1].upper() + text[1:]
