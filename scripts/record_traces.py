"""Writes ``tests/sim/traces.json``: what every named network condition makes of the same match, as digests.

``tests/sim/test_matrix.py`` compares with it, so that a change of how the code is built is seen to change nothing that
is sent or recorded. Written anew (``python -m scripts.record_traces``) only where a change means to.
"""

from __future__ import annotations

import json

from rollgym.client_sim.network_model import CONDITIONS
from tests.sim.test_matrix import DELAYS, TRACES, fingerprint, play


def main() -> None:
    cells = {f"{name}, input delay {delay}": fingerprint(play(name, delay)) for name in CONDITIONS for delay in DELAYS}
    TRACES.write_text(json.dumps(cells, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
