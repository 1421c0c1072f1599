"""`python -m relay`: the command line, where the script `relay` is not on PATH."""

import sys

from relay.commands import main

if __name__ == "__main__":
    sys.exit(main())
