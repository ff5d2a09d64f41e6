"""Example prompts: what the shipped model does well (see its card), grouped as people look for it."""

from __future__ import annotations

IDEAS: dict[str, tuple[str, ...]] = {
    "Animals": (
        "a dog barking",
        "birds chirping",
        "an owl hooting",
        "a crow cawing",
        "a frog croaking",
        "crickets at night",
        "a sheep bleating",
        "a horse trotting",
    ),
    "People": (
        "someone whistling a tune",
        "a person laughing",
        "a person mumbling",
        "a baby crying",
        "a crowd cheering",
        "an audience applauding",
        "someone walking",
    ),
    "Nature": ("thunder rolling", "waves breaking on a beach", "wind howling", "a crackling fire"),
    "Vehicles and alarms": (
        "a distant, low train horn",
        "an ambulance siren",
        "a church bell ringing",
        "an alarm clock beeping",
        "an engine running",
        "a helicopter flying",
    ),
    "Machines and impacts": (
        "someone typing on a computer keyboard",
        "glass breaking",
        "a hammer hitting a nail",
        "an electric drill",
        "someone sawing wood",
    ),
    "Music": (
        "a kick drum beating",
        "a snare drum",
        "a cymbal crash",
        "an acoustic guitar",
        "a flute playing",
        "a violin",
    ),
    "Games and films": ("an explosion", "a gunshot", "a machine gun firing", "a laser gun firing"),
}


def choices() -> list[tuple[str, str]]:
    """(label, prompt) for a searchable list: "Animals · a dog barking"."""
    return [(f"{group} · {prompt}", prompt) for group, prompts in IDEAS.items() for prompt in prompts]
