"""Numbers with units: times and probabilities as people write them."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator

_DURATION = re.compile(r"\s*([0-9.eE+-]+)\s*(ms|s)?\s*")
_SHARE = re.compile(r"\s*([0-9.eE+-]+)\s*(%)?\s*")


def duration(value: Any) -> float:
    """Seconds from ``40``, ``"40ms"`` or ``"0.04s"``: a bare number is milliseconds. Raises ``ValueError``."""
    number, unit = _number(value, _DURATION, "a time such as 40ms or 0.04s (a bare number is milliseconds)")
    if unit is None and 0 < number < 1:
        raise ValueError(f"{value!r} would be less than a millisecond: write {value}ms or {value}s")
    return number if unit == "s" else number / 1000


def share(value: Any) -> float:
    """A probability from ``0.02`` or ``"2%"``. Raises ``ValueError``."""
    number, unit = _number(value, _SHARE, "a probability such as 0.02 or 2%")
    number = number / 100 if unit == "%" else number
    if not 0 <= number <= 1:
        raise ValueError(f"{value!r}: expected a probability from 0 to 1, or 0% to 100%")
    return number


def _number(value: Any, pattern: re.Pattern[str], expected: str) -> tuple[float, str | None]:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{value!r}: expected {expected}")
    found = pattern.fullmatch(str(value))
    if found is None:
        raise ValueError(f"{value!r}: expected {expected}")
    try:
        return float(found[1]), found[2]
    except ValueError:
        raise ValueError(f"{value!r}: expected {expected}") from None


Duration = Annotated[float, BeforeValidator(duration)]
Share = Annotated[float, BeforeValidator(share)]
