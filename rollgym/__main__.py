"""``python -m rollgym``."""

from __future__ import annotations

from rollgym.cli import main

if __name__ == "__main__":
    main()
