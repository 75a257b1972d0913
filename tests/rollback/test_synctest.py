"""Synctest: a sound simulation passes at every distance; one that is not is caught at its frame and named."""

from __future__ import annotations

import pytest

from rollgym.client_sim.rollback.errors import InputWidth, SettingsError, SyncTestFailed, UnknownPlayer
from rollgym.client_sim.rollback.synctest import SyncTest
from tests.rollback.toy import Bare, State, first_state, following, state_digest

DEFAULTS = (b"\x00", b"\x00")


def joint(frame: int) -> tuple[bytes, bytes]:
    return bytes((frame % 4,)), bytes((frame // 3 % 4,))


@pytest.mark.parametrize("distance", [0, 1, 2, 7, 30])
def test_a_sound_simulation_passes(distance: int) -> None:
    simulation = Bare(5)
    session = SyncTest(simulation, DEFAULTS, distance)
    state = first_state(5)
    for frame in range(60):
        session.advance(joint(frame))
        state = following(state, joint(frame))
        assert session.digest == state_digest(state)
    assert session.current == 60
    assert session.resimulated == sum(min(frame + 1, distance) for frame in range(60))
    assert simulation.steps == 60 + session.resimulated


class Forgetful(Bare):
    """From some frame on, how often it was stepped goes into the state, which no snapshot holds."""

    def step(self, inputs: tuple[bytes, ...]) -> object:  # type: ignore[override]
        outcome = super().step(inputs)
        if self.state.frame >= self.breaks_at:
            self.state = State(self.state.frame, self.state.hash ^ self.steps)
        return outcome


@pytest.mark.parametrize("distance", [1, 3, 8])
@pytest.mark.parametrize("breaks_at", [1, 2, 20])
def test_a_simulation_that_forgets_is_caught_at_its_frame(distance: int, breaks_at: int) -> None:
    session = SyncTest(Forgetful(breaks_at=breaks_at), DEFAULTS, distance)  # type: ignore[arg-type]
    for frame in range(breaks_at - 1):
        session.advance(joint(frame))
    with pytest.raises(SyncTestFailed) as caught:
        session.advance(joint(breaks_at - 1))
    failure = caught.value
    assert failure.frame == breaks_at
    assert failure.rolled_back_to == max(0, breaks_at - distance)
    assert failure.first != failure.again
    assert [name for name, _, _ in failure.fields] == ["hash"]
    assert "hash" in str(failure)


def test_refusals() -> None:
    with pytest.raises(SettingsError):
        SyncTest(Bare(), DEFAULTS, -1)
    simulation = Bare()
    session = SyncTest(simulation, DEFAULTS, 2)
    with pytest.raises(UnknownPlayer):
        session.advance([b"\x00"])
    with pytest.raises(InputWidth):
        session.advance([b"\x00", b"\x00\x00"])
    assert (session.current, simulation.steps) == (0, 0)
