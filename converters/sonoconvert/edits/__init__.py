"""Where to paint and what happens around it: regions, canvases, putting back, seams."""
