"""How well jingle models follow curves, and how formalisms and representations compare."""
