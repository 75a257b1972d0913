"""Deterministic games behind one contract, and the adapters that bring others in.

Importing this package registers our own games with gymnasium, as ``rollgym/Drift-v0``, ``rollgym/Pong-v0`` and
``rollgym/Kitchen-v0``.
"""

from __future__ import annotations

import gymnasium

for _name, _game in (("Drift", "drift"), ("Pong", "pong"), ("Kitchen", "kitchen")):
    if f"rollgym/{_name}-v0" not in gymnasium.registry:
        gymnasium.register(
            f"rollgym/{_name}-v0", entry_point="rollgym.games.as_env.gym_env:GameEnv", kwargs={"game_id": _game}
        )
