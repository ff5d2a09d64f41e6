"""`python -m sonotrain`."""

from __future__ import annotations

import sys

from sonotrain.cli import main

if __name__ == "__main__":
    sys.exit(main())
