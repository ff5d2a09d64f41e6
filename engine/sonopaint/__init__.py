"""What paints: models, samplers, tasks and painters."""

from __future__ import annotations

__version__ = "0.1.0"
