"""The jingle framework: networks, formalisms, spaces, and the files that hold them."""
