"""How a session plays."""

from __future__ import annotations

from dataclasses import dataclass

from rollgym.client_sim.rollback.errors import SettingsError


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """How a session plays. All peers of a match use the same values, except that ``input_delay`` may differ.

    Raises :class:`~rollgym.client_sim.rollback.errors.SettingsError`, which names the field.
    """

    input_delay: int = 2
    """Frames between deciding an input and the frame it is for."""
    max_prediction: int = 8
    """Frames that may be simulated with predicted inputs. 0: lockstep."""
    save_every: int = 1
    """Keep a snapshot of every k-th frame (and of the rollback anchor). More re-simulation, less saving."""
    checksum_interval: int = 10
    """Frames between the states that are compared with other peers; 0: none."""

    def __post_init__(self) -> None:
        for field, low in (("input_delay", 0), ("max_prediction", 0), ("save_every", 1), ("checksum_interval", 0)):
            value = getattr(self, field)
            if not isinstance(value, int) or isinstance(value, bool) or value < low:
                raise SettingsError(field, value, f"an integer of at least {low}")
        if self.checksum_interval % self.save_every:
            raise SettingsError(
                "checksum_interval", self.checksum_interval, f"a multiple of save_every = {self.save_every}"
            )
