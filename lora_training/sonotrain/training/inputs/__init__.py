"""What trainers learn from, computed once and kept: latents, captions, the base model's own paintings."""
