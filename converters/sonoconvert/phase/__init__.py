"""From a picture back to a waveform: mel inversion, phase search, the learned decoder."""
