"""Weather: wind, rain."""

from __future__ import annotations

import torch
from torch import Tensor

from sonopaint.match.synths.blocks import TAU, band, fall, gain, hertz, running, shaped
from sonopaint.match.synths.protocol import Chance, Parameter, Synth, Values


def _wind(p: Values, t: Tensor, chance: Chance) -> Tensor:
    """Noise that swells in gusts, and a narrow band of it that howls and rises with them."""
    starts = chance.rand(3)[0]
    gust = sum(
        (w * torch.sin(TAU * (p["gusts"] * speed * t + start)) for w, speed, start in
         zip((0.5, 0.3, 0.2), (1.0, 1.7, 0.6), starts, strict=True)),
        torch.zeros_like(t),
    )  # fmt: skip
    level = 1 + p["depth"] * (gust - 0.2)
    rush = band(chance.noise(t), t, 40.0, p["body"], 9.0)
    slow = [shaped(chance.noise(t), -3 * (hertz(t) / p["width"]) ** 2) for _ in range(2)]
    angle = TAU * running(p["howl"] * 2 ** (0.5 * p["depth"] * gust), t)
    howl = (slow[0] * torch.cos(angle) + slow[1] * torch.sin(angle)) / 2**0.5
    return level * (0.1 * rush + 0.1 * gain(p["howling"]) * level * howl)


WIND = Synth(
    "wind",
    "Wind",
    (
        Parameter("body", "Hz", 80, 2500, 400, 0.08, "a brighter rush"),
        Parameter("howl", "Hz", 150, 2000, 500, 0.03, "howls higher"),
        Parameter("howling", "dB", -30, 12, -4, 1.5, "a louder howl", log=False),
        Parameter("width", "Hz", 8, 300, 35, 0.15, "a rougher howl"),
        Parameter("gusts", "/s", 0.2, 3, 0.6, 0.07, "more gusts"),
        Parameter("depth", "", 0, 1, 0.5, 0.06, "deeper gusts", log=False),
    ),
    _wind,
    fixed="when the gusts come, and the noise, are those of the seed",
)


def _rain(p: Values, t: Tensor, chance: Chance) -> Tensor:
    """A hiss and single drops. Drop k falls where it is more than k / seconds dense: the heavier the more."""
    count = t.shape[-1]
    seconds = float(t[0, -1] - t[0, 0]) + 1e-9
    many = int(400 * seconds) + 1
    where = (chance.rand(many) * (count - 1)).long().expand(len(p["density"]), -1)
    ranks = (torch.arange(many).to(t)[None] + 0.5) / seconds
    falls = torch.sigmoid((p["density"] - ranks) / (0.1 * ranks + 0.3))
    loud = (0.1 + 0.9 * chance.rand(many) ** 3) * (1 - 2 * (chance.rand(many) < 0.5).float())
    impulses = torch.zeros_like(p["density"] * t).scatter_add(-1, where, falls * loud.to(t))
    drop = torch.sin(TAU * p["pitch"] * t * (1 + 2 * t)) * fall(t, p["decay"], 0.0005)
    drops = torch.fft.irfft(torch.fft.rfft(impulses, 2 * count) * torch.fft.rfft(drop, 2 * count))[
        ..., :count
    ]
    f = hertz(t)
    hiss = shaped(band(chance.noise(t), t, p["body"], 14_000.0, 9.0), p["tilt"] * torch.log2(f / 3000))
    return 0.1 * hiss + 0.4 * gain(p["drops"]) * drops


RAIN = Synth(
    "rain",
    "Rain",
    (
        Parameter("body", "Hz", 150, 4000, 800, 0.1, "a thinner hiss"),
        Parameter("tilt", "dB/oct", -9, 3, -2, 0.7, "brighter", log=False),
        Parameter("drops", "dB", -30, 12, -3, 1.5, "louder drops", log=False),
        Parameter("density", "/s", 4, 350, 60, 0.15, "more drops"),
        Parameter("pitch", "Hz", 500, 6500, 2200, 0.04, "smaller drops"),
        Parameter("decay", "s", 0.004, 0.12, 0.02, 0.15, "drops ring longer"),
    ),
    _rain,
    fixed="when each drop falls and how loud, and the noise, are those of the seed; denser rain adds drops",
)
