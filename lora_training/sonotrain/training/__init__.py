"""One run for every trainer: folder, loop, options of computing, previews, curves, watching."""
