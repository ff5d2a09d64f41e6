"""What each level of a blending model holds: probes, swaps, reconstruction, maps (the document, § 4)."""
