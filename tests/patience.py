"""How long a test waits for something before it gives up.

No test is judged by the clock: work is bounded by counts, and waits end with the event that is waited for. This bound
is a net below that, an order of magnitude above what anything takes on a machine with ten times as much to do as it
can.
``tests/test_patience.py`` refuses any other.
"""

from __future__ import annotations

PATIENCE = 300.0
"""Seconds. Below the limit of a whole test in ``pyproject.toml``, so that a failure says what was waited for."""
