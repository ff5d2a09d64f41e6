"""Spectrogram formats and pictures: sound as levels, levels as PNG, plots."""
