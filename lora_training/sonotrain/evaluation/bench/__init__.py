"""Benches: references × back-ends, made, measured and put side by side."""
