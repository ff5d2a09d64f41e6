"""Sonopaint's ComfyUI nodes. Nothing here is imported before ComfyUI calls the root's comfy_entrypoint."""
