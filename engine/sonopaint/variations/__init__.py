"""Variations: a reference, what it is, and how many others like it; made by any model, chosen and delivered.

``protocol`` has the nouns and what a back-end is; ``backends`` opens one by its name; ``make`` makes, judges
and chooses; ``deliver`` writes a soundbank.
"""
