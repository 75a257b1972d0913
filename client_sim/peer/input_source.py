"""Where a player's inputs come from."""

from __future__ import annotations

from typing import Protocol

from rollgym.games.contract import Observation
from rollgym.games.policy import Policy
from rollgym.games.spaces.codec import Codec


class InputSource(Protocol):
    """Decides one player's inputs, in their encoded form. Called from the thread that drives the peer.

    Asked once for every frame at which something is decided, in the order of frames. What it raises ends the episode
    with status ``error``.
    """

    def reset(self, seed: int) -> None:
        """An episode with this seed (``0 <= seed < 2**31``) begins. Before its first :meth:`decide`."""

    def decide(self, observation: Observation, frame: int) -> bytes:
        """The input decided at ``frame``, for ``input_delay`` frames later: bytes of an action of the player's space.

        ``observation`` is the player's at that frame, a member of its agent's observation space, built from predictions
        where inputs had not arrived; it must not be changed. The result is as wide as the player's default input. A
        frame is asked for once, also if a rollback comes back to it: an input that was decided is a fact.
        """


class PolicyInputs:
    """The inputs of a policy. Raises :class:`~rollgym.games.spaces.codec.CodecError` for what is no action."""

    def __init__(self, policy: Policy, codec: Codec) -> None:
        self._policy = policy
        self._encode = codec.encode

    def reset(self, seed: int) -> None:
        self._policy.reset(seed)

    def decide(self, observation: Observation, frame: int) -> bytes:
        return self._encode(self._policy.act(observation, frame))
