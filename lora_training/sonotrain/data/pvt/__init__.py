"""PVT: piano, violin and trumpet melodies with the curves that they follow, in every representation."""
