"""Sonopaint in AUTOMATIC1111's WebUI and its forks. `scripts/sonopaint_webui.py` is the door."""
