"""Model and LoRA files: what they are, their formats, and from one to another. Nothing here runs a model."""
