"""The jingle framework's training: one trainer, three formalisms, any space."""
