"""Sonopaint Mini: VAE, text encoder, U-Net, the classifier that judges them, and the way to a model."""
