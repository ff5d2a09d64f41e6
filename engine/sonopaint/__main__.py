"""``python -m sonopaint`` is ``sonopaint``."""

import sys

from sonopaint.cli import main

if __name__ == "__main__":
    sys.exit(main())
