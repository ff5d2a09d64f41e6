"""`python -m sonoconvert`."""

from __future__ import annotations

import sys

from sonoconvert.cli import main

if __name__ == "__main__":
    sys.exit(main())
