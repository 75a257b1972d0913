"""The prediction rules that have a name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from rollgym.client_sim.rollback.prediction.default_input import default_input
from rollgym.client_sim.rollback.prediction.repeat_last import repeat_last
from rollgym.client_sim.rollback.prediction.rule import Predictor

DEFAULT = "repeat_last"

PREDICTORS: Mapping[str, Predictor] = MappingProxyType(
    {
        DEFAULT: repeat_last,
        "default_input": default_input,
    }
)
"""By the name that configurations use."""
