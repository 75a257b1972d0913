"""Control messages: typed on the way in, plain on the way out."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from rollgym.protocol.messages import (
    CLIENT_EVENTS,
    ONLY_RELAY,
    SERVER_EVENTS,
    Difference,
    ErrorReply,
    Finished,
    GameIdentity,
    Join,
    MatchStart,
    MessageError,
    PlaySettings,
    dump,
    first_difference,
    parse,
)

GAME = GameIdentity("pong", "1", {"points": 3}, ("left", "right"), ({}, {}), ({"type": "Box"}, {}))
START = MatchStart("m1", 1, ("a", "b"), 7, PlaySettings(fps=30.0), "secret", ONLY_RELAY, "matches/m1/{episode}")


@pytest.mark.parametrize("message", [Join(1, GAME, "me", {"python": "3.11"}), START, Finished(3), ErrorReply("x", "y")])
def test_a_message_comes_back_from_plain_maps(message: Any) -> None:
    plain = msgspec.msgpack.decode(msgspec.msgpack.encode(dump(message)))
    assert all(isinstance(key, str) for key in plain)
    assert parse(type(message), plain) == message


@pytest.mark.parametrize(
    ("kind", "payload", "text"),
    [
        (Finished, {"episodes": -1}, r"`\$.episodes`"),
        (Finished, {"episodes": "3"}, r"Expected `int`, got `str` - at `\$.episodes`"),
        (Finished, {}, "missing required field `episodes`"),
        (Finished, {"episodes": 1, "extra": 2}, "unknown field `extra`"),
        (Finished, [1], "Expected `object`, got `array`"),
        (Finished, None, "Expected `object`, got `null`"),
        (Join, {"protocol": 1, "game": {**dump(GAME), "id": ""}}, r"at `\$.game.id`"),
        (Join, {"protocol": 1, "game": {**dump(GAME), "agents": ["a"] * 17}}, r"at `\$.game.agents`"),
        (MatchStart, {**dump(START), "settings": {"fps": 0}}, r"at `\$.settings.fps`"),
        (MatchStart, {**dump(START), "settings": {"on_desync": "pray"}}, r"at `\$.settings.on_desync`"),
        (MatchStart, {**dump(START), "player": 16}, r"at `\$.player`"),
    ],
)
def test_what_is_not_the_message_is_refused_with_the_field(kind: Any, payload: Any, text: str) -> None:
    with pytest.raises(MessageError, match=text):
        parse(kind, payload)


def test_every_event_has_a_type_of_its_own() -> None:
    assert not CLIENT_EVENTS.keys() & SERVER_EVENTS.keys()
    types = [*CLIENT_EVENTS.values(), *SERVER_EVENTS.values()]
    assert len(set(types)) == len(types)


def _changed(**changes: Any) -> GameIdentity:
    return msgspec.structs.replace(GAME, **changes)


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (GAME, None),
        (_changed(version="2"), Difference("version", "1", "2")),
        (_changed(parameters={"points": 5}), Difference("parameters.points", 3, 5)),
        (_changed(parameters={}), Difference("parameters.points", 3, "(missing)")),
        (_changed(parameters={"points": 3, "size": 1}), Difference("parameters.size", "(missing)", 1)),
        (_changed(agents=("left",)), Difference("agents[1]", "right", "(missing)")),
        (_changed(observation_spaces=({"type": "Dict"}, {})), Difference("observation_spaces[0].type", "Box", "Dict")),
        (_changed(parameters={"points": True}), Difference("parameters.points", 3, True)),
    ],
)
def test_the_first_difference_has_a_path(second: GameIdentity, expected: Difference | None) -> None:
    assert first_difference(GAME, second) == expected


def test_true_is_not_one() -> None:
    assert first_difference({"a": 1}, {"a": True}) == Difference("a", 1, True)


def test_an_integer_is_not_the_same_number_as_a_float() -> None:
    assert first_difference({"a": [1, 5]}, {"a": (1, 5.0)}) == Difference("a[1]", 5, 5.0)
    assert first_difference({"a": 1.0}, {"a": 1.0}) is None
