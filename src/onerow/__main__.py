"""`python -m onerow`."""

from __future__ import annotations

from onerow.cli import main

if __name__ == "__main__":
    main()
