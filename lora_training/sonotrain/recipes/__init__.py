"""Whole workflows out of several trainings: Mini, the decoders, sweeps of options."""
