"""How commands print results for machines."""

from __future__ import annotations

import json
import math
from typing import Any

from rollgym.commands.output import say


def print_json(value: Any) -> None:
    """One JSON document on stdout. NaN and infinity, which JSON has not, become null."""
    say(json.dumps(_finite(value), indent=2, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
