"""A listening test: one offline page built from references and methods, and its answers scored."""
