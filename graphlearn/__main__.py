"""`python -m graphlearn`, which is also what `torchrun -m graphlearn` starts."""

import sys

from graphlearn.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())
