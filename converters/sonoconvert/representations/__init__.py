"""Other representations of a sound than the mel picture."""
