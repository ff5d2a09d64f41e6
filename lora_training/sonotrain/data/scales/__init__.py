"""Sounds with labels (kind, pitch, notes) for models that take sounds apart by scale."""
