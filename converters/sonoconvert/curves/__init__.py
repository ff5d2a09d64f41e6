"""Curves: how loud, how high, how bright a sound is to be, and when."""

from sonoconvert.curves.curves import FREE, KINDS, RATE_HZ, Curves

__all__ = ["FREE", "KINDS", "RATE_HZ", "Curves"]
