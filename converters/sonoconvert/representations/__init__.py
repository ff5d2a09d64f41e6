"""Sounds as tensors that models work on: one protocol for pictures, transforms and latents."""
