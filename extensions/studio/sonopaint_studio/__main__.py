"""``python -m sonopaint_studio``."""

from __future__ import annotations

import sys

from sonopaint_studio.app import main

if __name__ == "__main__":
    sys.exit(main())
