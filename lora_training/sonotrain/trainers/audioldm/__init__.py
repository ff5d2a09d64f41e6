"""Light fine-tuning of AudioLDM: the U-Net and its projection of the text, whole or as LoRA."""
