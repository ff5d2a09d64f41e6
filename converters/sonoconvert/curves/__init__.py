"""Curves: how loud, how high, how bright a sound is to be, and when."""
