"""The adapter with which a model follows curves."""
