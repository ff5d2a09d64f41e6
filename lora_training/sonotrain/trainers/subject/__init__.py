"""One subject from a few clips: Uni-DAD (arXiv:2511.18281; Desbos 2026, chapter 2) and its baselines."""
