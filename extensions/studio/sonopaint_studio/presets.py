"""Example prompts: what the shipped model knows, grouped as people look for it."""

from __future__ import annotations

IDEAS: dict[str, tuple[str, ...]] = {
    "Nature": (
        "heavy rain",
        "thunder rolling",
        "wind howling",
        "waves breaking on a beach",
        "a stream",
        "a crackling fire",
        "a calm forest",
        "water dripping slowly",
    ),
    "Animals": (
        "a dog barking",
        "birds chirping",
        "a horse trotting",
        "a frog croaking",
        "crickets at night",
        "a sheep bleating",
        "a pig grunting",
        "a bee buzzing",
    ),
    "People": (
        "an audience applauding",
        "a person laughing",
        "someone walking",
        "someone whistling a tune",
        "a person mumbling",
        "someone snoring",
        "a cough",
    ),
    "Vehicles and alarms": (
        "a distant, low train horn",
        "an engine running",
        "a car honking",
        "a helicopter flying",
        "a jet flying over",
        "an ambulance siren",
        "a church bell ringing",
        "a telephone ringing",
    ),
    "Machines and impacts": (
        "someone typing on a computer keyboard",
        "a hammer hitting a nail",
        "a clock ticking",
        "an electric drill",
        "glass breaking",
        "a door slamming",
        "metal clanging",
    ),
    "Music": (
        "an acoustic guitar",
        "a piano playing",
        "a flute playing",
        "a violin",
        "a trumpet",
        "a snare drum",
        "a kick drum beating",
        "a cymbal crash",
    ),
    "Games and films": (
        "a laser gun firing",
        "a spaceship humming",
        "a robot beeping",
        "a power-up rising",
        "an explosion",
        "a gunshot",
        "swords clashing",
        "a phone notification",
    ),
    "Together": ("a dog barking in the rain", "a dog barks, then a siren passes", "footsteps and wind"),
}


def choices() -> list[tuple[str, str]]:
    """(label, prompt) for a searchable list: "Nature · heavy rain"."""
    return [(f"{group} · {prompt}", prompt) for group, prompts in IDEAS.items() for prompt in prompts]
