"""Sounds to pictures and back: one, a folder, hours in parts, several machines."""
