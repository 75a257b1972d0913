"""What could not even be started or checked: what was raised, where, and what to do next."""

from __future__ import annotations

import inspect
import re
from typing import Any

from rollgym.checking.raised import described
from rollgym.checking.report import Finding
from rollgym.games.adapters.family import OLD_API
from rollgym.games.errors import GameError, Unsafe

CARTRIDGES = (
    "put the cartridge (ROM) where the environment looks for it: pip install 'autorom[accept-rom-license]' && AutoROM"
)
ILLEGAL = (
    "an action that is not allowed must do nothing, as a guessed one may be: adapter={wait: true} lets it go by in an "
    "AEC environment; elsewhere test the action mask in step(). The policy random_legal plays by the mask"
    " of the observation; adapter={action_mask: true} puts one of the infos there"
)
_ROM = re.compile(r"\broms?\b|autorom|\.bin\b", re.IGNORECASE)


def could_not(stage: str, error: BaseException, env: Any = None) -> Finding:
    """``stage`` is what was tried, such as ``the first reset``; ``env`` the environment, once there is one."""
    code, following = _next(error, env)
    text = str(error) if isinstance(error, GameError) and not isinstance(error, Unsafe) else described(error)
    return Finding(code, "unchecked", f"{stage} failed: {text}", following)


def _next(error: BaseException, env: Any) -> tuple[str, str]:
    if isinstance(error, GameError) and OLD_API in error.expected:
        return "old_interface", "write these two methods so, or wrap the environment"
    missing = _missing(error)
    if missing is not None:
        return "dependency", missing
    if _ROM.search(str(error)):
        return "cartridge", CARTRIDGES
    if env is not None and _is_old(error, env):
        return "old_interface", OLD_API
    if env is not None and has_mask(env):
        return "illegal_action", ILLEGAL
    if isinstance(error, FileNotFoundError):
        return "file", "install what the environment reads, and name files by the module's folder, not the current one"
    return "raised", ""


def _missing(error: BaseException | None) -> str | None:
    """What to install, if that is what it lacks."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError) and error.name:
            return (
                f"install the package that brings the module {error.name}: pip install {error.name.partition('.')[0]}"
            )
        if type(error).__name__ == "DependencyNotInstalled":
            return "install what the message names"
        error = error.__cause__
    return None


def _is_old(error: BaseException, env: Any) -> bool:
    """Whether an environment is of the time before gymnasium."""
    if not hasattr(env, "observation_space") or hasattr(env, "possible_agents"):
        return False
    if isinstance(error, ValueError) and "values to unpack" in str(error):
        return True
    reset = getattr(getattr(env, "unwrapped", env), "reset", None)
    try:
        taken = inspect.signature(reset).parameters if callable(reset) else {}
    except (TypeError, ValueError):
        return False
    if "seed" not in taken and not any(p.kind is p.VAR_KEYWORD for p in taken.values()):
        return True
    return isinstance(error, GameError) and "observation" in error.field


def has_mask(env: Any) -> bool:
    """Whether an environment says which actions are allowed."""
    if hasattr(env, "agent_selection"):
        return True
    spaces = getattr(env, "observation_space", None)
    return "action_mask" in str(spaces) if not callable(spaces) else False
