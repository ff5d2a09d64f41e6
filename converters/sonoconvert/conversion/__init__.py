"""Sounds to pictures and back: one, a folder, hours in parts, several machines."""

INDEX_SUFFIX = ".parts.json"  # of the list of pictures that a long sound became
