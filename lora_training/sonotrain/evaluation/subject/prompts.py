"""The prompts of the bench as data: 25 for sounds, 25 for living subjects in pictures, 25 for objects.

In each, {0} stands for the rare token and {1} for the class noun.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sonotrain.data.foley.phrases import with_article

SEEDS = 4  # 0, 1, 2, 3 for each prompt
PLAIN = "a {0} {1}"


@dataclass(frozen=True)
class Template:
    """One prompt, and what it should change beside the plain one (see contexts.agrees); "" = nobody measures.

    kind: of the foley corpus, for what should be heard beside the subject.
    """

    text: str
    change: str = ""
    kind: str = ""

    def prompt(self, token: str, noun: str) -> str:
        """The prompt with token and class noun; without a token, a noun of its own article."""
        if token:
            return self.text.format(token, noun)
        text = self.text.replace("a {0} {1}", with_article(noun)).replace("{0} {1}", noun)
        return " ".join(text.split())


SOUND = (
    Template("a distant {0} {1}", "fuller"),  # distance comes with reverberation, in the corpus as outdoors
    Template("a {0} {1} in the distance", "fuller"),
    Template("a {0} {1} far away", "fuller"),
    Template("an echoing {0} {1}", "fuller"),
    Template("a {0} {1} in a large hall", "fuller"),
    Template("a {0} {1} in a small room"),
    Template("a close {0} {1}"),
    Template("a low {0} {1}", "lower"),
    Template("a deep {0} {1}", "lower"),
    Template("a high-pitched {0} {1}", "higher"),
    Template("a slow {0} {1}", "slower"),
    Template("a fast {0} {1}", "faster"),
    Template("a single {0} {1}", "fewer"),
    Template("a repeated {0} {1}", "more"),
    Template("a {0} {1} twice in a row", "two"),
    Template("a {0} {1} in the rain", "beside", "rain"),
    Template("a {0} {1} with applause in the background", "beside", "applause"),
    Template("a {0} {1} with crickets in the background", "beside", "crickets"),
    Template("a {0} {1} with ocean waves in the background", "beside", "ocean_waves"),
    Template("a {0} {1} and laughter at the same time", "beside", "laughter"),
    Template("a {0} {1} while a siren passes", "beside", "siren"),
    Template("a {0} {1} followed by a siren", "after", "siren"),
    Template("a {0} {1} and then a church bell", "after", "church_bell"),
    Template("first a {0} {1}, then horse hooves", "after", "horse_hooves"),
    Template("an alarm clock followed by a {0} {1}", "before", "alarm_clock"),
)

# DreamBooth (Ruiz et al. 2023), its published prompt lists.
_PLACES = (
    "a {0} {1} in the jungle",
    "a {0} {1} in the snow",
    "a {0} {1} on the beach",
    "a {0} {1} on a cobblestone street",
    "a {0} {1} on top of pink fabric",
    "a {0} {1} on top of a wooden floor",
    "a {0} {1} with a city in the background",
    "a {0} {1} with a mountain in the background",
    "a {0} {1} with a blue house in the background",
    "a {0} {1} on top of a purple rug in a forest",
)
_PROPERTIES = (
    "a red {0} {1}",
    "a purple {0} {1}",
    "a shiny {0} {1}",
    "a wet {0} {1}",
    "a cube shaped {0} {1}",
)
_CLOTHES = (
    "a {0} {1} wearing a red hat",
    "a {0} {1} wearing a santa hat",
    "a {0} {1} wearing a rainbow scarf",
    "a {0} {1} wearing a black top hat and a monocle",
    "a {0} {1} in a chef outfit",
    "a {0} {1} in a firefighter outfit",
    "a {0} {1} in a police outfit",
    "a {0} {1} wearing pink glasses",
    "a {0} {1} wearing a yellow shirt",
    "a {0} {1} in a purple wizard outfit",
)
_GROUNDS = (
    "a {0} {1} with a wheat field in the background",
    "a {0} {1} with a tree and autumn leaves in the background",
    "a {0} {1} with the Eiffel Tower in the background",
    "a {0} {1} floating on top of water",
    "a {0} {1} floating in an ocean of milk",
    "a {0} {1} on top of green grass with sunflowers around it",
    "a {0} {1} on top of a mirror",
    "a {0} {1} on top of the sidewalk in a crowded street",
    "a {0} {1} on top of a dirt road",
    "a {0} {1} on top of a white rug",
)
LIVE = tuple(map(Template, _PLACES + _CLOTHES + _PROPERTIES))
OBJECTS = tuple(map(Template, _PLACES + _GROUNDS + _PROPERTIES))

# The class noun of each subject of DreamBooth's pictures, as its list of classes says it.
DREAMBOOTH: Mapping[str, str] = {
    "backpack": "backpack",
    "backpack_dog": "backpack",
    "bear_plushie": "stuffed animal",
    "berry_bowl": "bowl",
    "can": "can",
    "candle": "candle",
    "cat": "cat",
    "cat2": "cat",
    "clock": "clock",
    "colorful_sneaker": "sneaker",
    "dog": "dog",
    "dog2": "dog",
    "dog3": "dog",
    "dog5": "dog",
    "dog6": "dog",
    "dog7": "dog",
    "dog8": "dog",
    "duck_toy": "toy",
    "fancy_boot": "boot",
    "grey_sloth_plushie": "stuffed animal",
    "monster_toy": "toy",
    "pink_sunglasses": "glasses",
    "poop_emoji": "toy",
    "rc_car": "toy",
    "red_cartoon": "cartoon",
    "robot_toy": "toy",
    "shiny_sneaker": "sneaker",
    "teapot": "teapot",
    "vase": "vase",
    "wolf_plushie": "stuffed animal",
}
LIVING = frozenset({"cat", "dog"})  # classes whose prompts are LIVE
