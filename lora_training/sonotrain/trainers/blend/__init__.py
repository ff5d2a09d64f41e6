"""Training of the multi-scale auto-encoder and of its baselines, stage by stage."""
