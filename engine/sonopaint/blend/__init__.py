"""Blending sounds: the coarse of one, the mid of another, the fine of a third."""
