"""Painters: what repaints the masked cells of a canvas."""
