"""The bot that plays a list of actions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rollgym.games.contract import Observation
from rollgym.games.errors import GameError
from rollgym.games.policy import PolicySeat
from rollgym.games.spaces.codec import CodecError
from rollgym.games.spaces.from_json import from_json


class ScriptedPolicy:
    """Plays a list of actions, one per frame, then idles or, with ``repeat``, starts again."""

    def __init__(
        self, seat: PolicySeat, actions: Sequence[Any] | None = None, path: str | None = None, repeat: bool = False
    ) -> None:
        if (actions is None) == (path is None):
            raise GameError("scripted", {"actions": actions, "path": path}, "either actions or path")
        if not isinstance(repeat, bool):
            raise GameError("scripted.repeat", repeat, "true or false")
        given = _read_script(path) if path is not None else actions
        if not isinstance(given, list | tuple) or not given:
            raise GameError("scripted.actions", given, "a list of at least one action")
        space, codec = seat.spec.action_spaces[seat.agent], seat.spec.codecs[seat.agent]
        self._actions = []
        for index, value in enumerate(given):
            try:
                action = from_json(space, value)
                codec.encode(action)
            except (CodecError, ValueError, TypeError, KeyError, OverflowError) as error:
                raise GameError(f"scripted.actions[{index}]", value, f"a member of {space} ({error})") from error
            self._actions.append(action)
        self._idle = seat.spec.default_actions[seat.agent]
        self._repeat = repeat

    def reset(self, seed: int) -> None:
        return None

    def act(self, observation: Observation, frame: int) -> Any:
        if self._repeat:
            return self._actions[frame % len(self._actions)]
        return self._actions[frame] if 0 <= frame < len(self._actions) else self._idle


def _read_script(path: Any) -> Any:
    if not isinstance(path, str | Path):
        raise GameError("scripted.path", path, "the path of a JSON file")
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise GameError("scripted.path", str(path), f"a readable file ({error.strerror})") from error
    except ValueError as error:
        raise GameError("scripted.path", str(path), f"a JSON list of actions ({error})") from error
