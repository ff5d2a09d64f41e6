"""How well analysers match: the document's table, and every synthesiser on held-out parameters."""
