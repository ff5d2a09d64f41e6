"""One default for each setting of sounds and their edits, read by functions, command lines, pages and nodes.

What concerns painting stands in ``sonopaint.tasks.settings``.
"""

from __future__ import annotations

FORMAT = "sonopaint-mini"  # what sounds are drawn in: the shipped model's format
UNSAID_FORMAT = "riffusion-v1"  # what models and pictures have that do not say theirs
FEATHER_S = 0.05  # seconds over which old and new sound cross-fade, on either side of a region
OVERLAP_S = 0.25  # seconds of a recording's ends that a model may paint over in the picture, to extend it
SEAM_S = 1.0  # seconds that are repainted around the place where a loop's end meets its start
# Iterations of the phase search by name; more than "best" hardly tell.
QUALITIES = {"fast": 16, "normal": 32, "high": 64, "best": 128}
ITERATIONS = QUALITIES["fast"]  # of every decoding and edit; docs/conversion.md says why
JOIN_S = 0.25  # seconds over which neighbours cross-fade where sounds are joined
# What is painted is fitted to what is around it, added to what is there, or left as it was painted.
SURROUNDINGS = MATCH, ADD, FREE = "match", "add", "free"  # the first is the default
LONGEST_S = 600.0  # a longer sound does not fit on one picture that a person could paint on
