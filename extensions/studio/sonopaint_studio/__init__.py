"""Sonopaint Studio: the stand-alone browser interface."""
