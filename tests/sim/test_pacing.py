"""Matches keep their pace, and end, whatever the others do."""

from __future__ import annotations

import numpy as np

from rollgym.client_sim.network_model import link
from rollgym.client_sim.peer.events import MatchEnded, PlayerGone
from rollgym.client_sim.peer.input_source import PolicyInputs
from rollgym.client_sim.peer.peer import Peer
from rollgym.client_sim.simulator.scenario import Kill, Scenario
from rollgym.client_sim.simulator.simulator import simulate
from rollgym.games.contract import Game
from rollgym.games.policies.catalogue import make_policy
from rollgym.games.policy import Policy
from rollgym.games.registry import make
from rollgym.protocol.episode.export import INPUT_GONE
from rollgym.protocol.messages import ONLY_RELAY, MatchStart, PlaySettings
from rollgym.protocol.packets import Hello, encode


def bot(game: Game, player: int) -> Policy:
    return make_policy("random_hold", game.spec, player, player)


def test_a_survivor_who_plays_on_alone_keeps_the_pace_of_the_match() -> None:
    settings = PlaySettings(fps=60, frame_limit=600, on_disconnect="continue", disconnect_timeout=1.0)
    result = simulate(Scenario(settings, lambda: make("drift"), [bot, bot], link=link("lan"), kills=[Kill(1, 2.0)]))
    export = result.players[0].exports[0]
    assert (export.header.status, export.header.frames) == ("complete", 600)
    sources = export.canonical.columns["input_source"].array()
    gone = sources[:, 1] == INPUT_GONE
    assert int(gone.sum()) > 300
    assert gone[int(gone.argmax()) :].all()
    assert not sources[~gone].any()
    times = export.own.columns["time"].array()
    alone = np.diff(times[250:])
    assert np.allclose(alone, 1 / 60, atol=1e-3)


def test_waiting_for_a_late_partner_to_come_is_no_lack_of_progress_of_his() -> None:
    settings = PlaySettings(fps=60, frame_limit=60, max_prediction=0, input_delay=0, disconnect_timeout=2.0)
    result = simulate(Scenario(settings, lambda: make("drift"), [bot, bot], link=link("lan"), starts=[0.0, 8.0]))
    assert [player.exports[0].header.status for player in result.players] == ["complete", "complete"]


def lonely_peer() -> Peer:
    game = make("drift")
    settings = PlaySettings(fps=60, frame_limit=600, disconnect_timeout=2.0, start_timeout=3.0)
    start = MatchStart("m", 0, ("a", "b"), 1, settings, "t", ONLY_RELAY, "u")
    return Peer(
        start,
        game,
        PolicyInputs(bot(game, 0), game.spec.input_codecs[0]),
        policy_info={},
        software={},
        now=0.0,
        wall=0.0,
    )


def test_a_partner_who_only_says_hello_is_as_good_as_silent() -> None:
    peer = lonely_peer()
    for tick in range(1000):
        now = tick / 60
        peer.receive(1, encode(Hello(0, True)), now)
        peer.poll(now)
        if peer.done:
            break
    assert peer.done
    events = peer.take_events()
    assert PlayerGone(1, "makes no progress") in events
    assert MatchEnded("left") in events
    (export,) = peer.take_exports()
    assert (export.header.status, export.header.frames) == ("partner_silent", 0)
    assert export.own.tail is not None
