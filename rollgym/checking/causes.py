"""From a difference to what it usually comes from."""

from __future__ import annotations

from collections.abc import Sequence

from rollgym.checking.outside import wrapped
from rollgym.checking.trace import Difference
from rollgym.games.contract import Game


class Evidence:
    """What was noticed besides the difference itself."""

    def __init__(self, game: Game) -> None:
        self._adapted = wrapped(game, lambda at: hasattr(at, "state_method"))
        self._pickled = wrapped(game, lambda at: any("zPickle" in base.__name__ for base in type(at).__mro__))
        self._env = wrapped(game, lambda at: hasattr(at, "action_space") or hasattr(at, "possible_agents"))
        self.outside: list[str] = []
        """Variables outside of the environment that changed while it played."""
        self.draws: list[str] = []
        """Global generators that were drawn from."""
        self.hash_seed = False
        """Two processes differ, and two with the same PYTHONHASHSEED do not."""

    @property
    def method(self) -> str:
        """How the state is saved."""
        return "own" if self._adapted is None else str(self._adapted.state_method.name)

    @property
    def environment(self) -> str:
        """The class to talk about."""
        return "the game" if self._env is None else type(self._env).__qualname__

    @property
    def pickled(self) -> bool:
        """Whether copies of the environment are made by its constructor."""
        return self._pickled is not None

    def notes(self) -> list[str]:
        """What does no harm, and is worth knowing."""
        found = []
        if self.method == "replay":
            found.append("a load plays the episode again from its reset: its cost grows with every frame")
        if self.draws:
            found.append(f"draws from the global {' and '.join(self.draws)}")
        dropped = sorted(getattr(self._adapted, "unrecorded", ()))
        if dropped:
            found.append(f"infos that are not recorded: {', '.join(dropped)}")
        return found


def usual_cause(check: str, found: Difference, evidence: Evidence, failed: Sequence[str]) -> str:
    """One or two sentences: what such a difference comes from nearly always, and what to do about it."""
    draws = " and ".join(evidence.draws)
    if check == "wall time" or "wall time" in failed:
        return "it reads the clock: count frames instead, a rolled-back frame is simulated at another time"
    if check == "global random state" or (draws and found.frame >= 0 and "global random state" in failed):
        return (
            f"it draws from the global generator of {draws or 'random or numpy.random'}, which all of the process "
            "shares and no snapshot contains: draw from self.np_random"
        )
    if check.startswith("rollback") and evidence.method == "native":
        text = f"get_state() and set_state() of {evidence.environment} do not carry the whole state"
        if evidence.pickled:
            text += (
                "; if they copy the environment itself: it is a gymnasium.utils.EzPickle, whose copies (copy.deepcopy, "
                "pickle) are fresh environments made by the constructor"
            )
        return f"{text}. adapter={{snapshot: copy}} saves what can be reached instead"
    if evidence.hash_seed:
        return (
            "it depends on PYTHONHASHSEED: it goes through a set of texts (or hashes them), in an order that every "
            "process makes anew; sort it, or use a list or a dict"
        )
    if evidence.outside and not check.startswith("another"):
        shown = ", ".join(evidence.outside[:3])
        return (
            f"state outside of the environment, which no snapshot contains: {shown} changed while it played; keep it "
            "in attributes of the environment"
        )
    if check.startswith("another"):
        return (
            "it differs from process to process: a generator without a seed in the constructor, the address or id of "
            "an object, or something that the first episode of a process finds and later ones do not"
        )
    if "{" in found.path or "set" in found.first[:6]:
        return "it goes through a set, whose order depends on how it came about: sort it, or use a list or a dict"
    return (
        "something that decides the next state is not in the snapshot or not in reset(seed): memory of a C library "
        "behind a number, a file, a class attribute of another package, an unseeded generator"
    )
