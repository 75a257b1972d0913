"""Deterministic games behind one contract, and the adapters that bring others in.

Importing this package registers our own games with gymnasium, as ``rollgym/Drift-v0``, ``rollgym/Pong-v0`` and so on:
:func:`rollgym.games.builtin.catalogue.gymnasium_ids`.
"""

from __future__ import annotations

import gymnasium

from rollgym.games.builtin.catalogue import gymnasium_ids

for _name, _game in gymnasium_ids().items():
    if _name not in gymnasium.registry:
        gymnasium.register(_name, entry_point="rollgym.games.as_env.gym_env:GameEnv", kwargs={"game_id": _game})
