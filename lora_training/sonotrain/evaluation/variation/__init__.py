"""The bench of variations: references × back-ends under one protocol, and which back-end does what."""
