"""The peer in JavaScript against the recorded match, and against a bot of ours on a real server: all is verified.

``make example`` runs it. Needs Node 18 or newer, and ``npm ci`` in ``examples/node-peer``. Exit code: 0 all is well.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

EXAMPLE = Path(__file__).parents[1] / "examples" / "node-peer"
LIMIT = 300.0
"""Seconds until something that never comes is given up. Never the time it should take."""

CONFIG = """
experiment:
  name: node-peer
  seed: 11
  game: {{id: {game}}}
  play: {{episodes: 2, fps: 60, frame_limit: 240, input_delay: 1, max_prediction: 8, disconnect_timeout: 60}}
server: {{port: 0, data: {data}}}
"""


class Match(NamedTuple):
    """A match to be played: the game, the bot of ours, and how the peer in JavaScript plays."""

    game: str
    bot: str
    arguments: tuple[str, ...]


MATCHES = (
    Match("drift", "random_hold", ("--cut-control", "60", "--cut-relay", "120")),
    Match("pong", "random_hold", ("--policy", "follow", "--cut-control", "60")),
)


def rollgym(*arguments: object) -> list[str]:
    """The command line of one of our commands."""
    return [sys.executable, "-m", "rollgym", *map(str, arguments)]


def played(match: Match, folder: Path) -> dict[str, Any]:
    """Play a match; what the peer in JavaScript says of it at the end."""
    config = folder / "experiment.yaml"
    config.write_text(CONFIG.format(game=match.game, data=folder / "data"), encoding="utf-8")
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(rollgym("serve", config, "--once"), stdout=subprocess.PIPE, stderr=log, text=True)
    bot = None
    try:
        assert server.stdout is not None
        found = re.search(r"http://[\d.:]+", server.stdout.readline())
        if found is None:
            raise SystemExit(f"the server did not come up:\n{(folder / 'server.log').read_text()}")
        network = ("--latency", "40ms", "--jitter", "10ms", "--loss", "2%")
        bot = subprocess.Popen(
            rollgym("play", "--url", found[0], "--policy", match.bot, "--spool", folder / "spool", *network)
        )
        node = subprocess.run(
            ["node", "play.js", "--url", found[0], "--game", match.game, *match.arguments],
            cwd=EXAMPLE,
            stdout=subprocess.PIPE,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        print(node.stdout, end="")
        codes = (node.returncode, bot.wait(LIMIT), server.wait(LIMIT))
        if codes != (0, 0, 0):
            raise SystemExit(f"peer, bot and server ended with {codes}:\n{(folder / 'server.log').read_text()}")
    finally:
        for process in (bot, server):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()
    subprocess.run(rollgym("verify", folder / "data"), timeout=LIMIT, check=True)
    said: dict[str, Any] = json.loads(node.stdout.splitlines()[-1])
    return said


def main() -> None:
    """Both parts. Raises ``SystemExit`` or ``CalledProcessError`` if one does not hold."""
    print("== against the recorded match", flush=True)
    subprocess.run(["node", "recorded.js"], cwd=EXAMPLE, timeout=LIMIT, check=True)
    for match in MATCHES:
        print(f"== {match.game}, against a bot on a server", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            said = played(match, Path(folder))
        rollbacks = [episode["rollbacks"] for episode in said["episodes"]]
        if len(rollbacks) != 2 or min(rollbacks) == 0:
            raise SystemExit(f"rollbacks {rollbacks}: expected some in each of two episodes")
        if said["resumes"] != 1 or said["verdicts"] != ["verified", "verified"]:
            raise SystemExit(f"{said['resumes']} resumes, verdicts {said['verdicts']}: expected 1 and verified twice")
        if said["relays"] != ("--cut-relay" in match.arguments):
            raise SystemExit(f"the relay was opened again {said['relays']} times")


if __name__ == "__main__":
    main()
