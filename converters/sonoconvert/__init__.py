"""Sound ⇄ picture ⇄ files: clips, spectrogram formats, pictures, regions, canvases."""
