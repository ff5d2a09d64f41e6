"""Jingles: sound that plays along curves of velocity, pitch and instrument."""
