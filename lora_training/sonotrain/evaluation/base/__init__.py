"""Sonopaint Mini and models like it, judged by what the corpus asks of them."""
