"""The lowest floor: JSON, checksums, locks, and options as dataclasses."""
