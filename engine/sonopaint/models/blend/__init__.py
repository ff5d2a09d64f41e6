"""The multi-scale spectral diffusion auto-encoder: sounds as coarse, mid and fine codes, and back."""
