"""Heal: gaps, clicks, clipped peaks and missing bands repaired without words."""
