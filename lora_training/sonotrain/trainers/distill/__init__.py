"""DMD2: a base model distilled to a student that paints in one step."""
