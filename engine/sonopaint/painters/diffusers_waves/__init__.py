"""Waveform painters around diffusers' audio pipelines: one file for each family; ``loading`` opens them."""
