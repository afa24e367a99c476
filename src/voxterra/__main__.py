"""`python -m voxterra`: the program `voxterra`, of the Python that is named."""

import sys

from voxterra.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
