"""Settings: what is allowed, and that mistakes are named."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from msgspec import Meta
from pydantic import ValidationError

from rollgym.protocol.messages import PlaySettings
from rollgym.server.settings import Experiment, Play, ServerSettings


def test_play_has_exactly_what_is_sent_to_the_players() -> None:
    assert list(Play.model_fields) == list(PlaySettings.__struct_fields__)
    assert Play().settings(60) == PlaySettings()
    assert Play(fps=30).settings(60).fps == 30.0


def bounds(hint: Any) -> dict[str, float]:
    """The limits in a type hint."""
    found: dict[str, float] = {}
    for part in (hint, *get_args(hint)):
        for meta in getattr(part, "__metadata__", ()):
            if isinstance(meta, Meta):
                found.update({k: v for k in ("ge", "gt", "le") if (v := getattr(meta, k)) is not None})
    return found


@pytest.mark.parametrize("name", PlaySettings.__struct_fields__)
def test_play_has_the_limits_of_the_message(name: str) -> None:
    hint = get_type_hints(PlaySettings, include_extras=True)[name]
    ours = {type(m).__name__.lower(): next(iter(vars_of(m))) for m in Play.model_fields[name].metadata}
    assert ours == bounds(hint)


def vars_of(meta: Any) -> list[float]:
    return [getattr(meta, name) for name in ("ge", "gt", "le") if hasattr(meta, name)]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"prot": 1}, "prot"),
        ({"port": 65536}, "port"),
        ({"limits": {"waiting": 1}}, "limits.waiting"),
        ({"experiment": {"game": {"id": "chess"}}}, "drift, pong"),
        ({"experiment": {"game": {"id": "drift", "parameters": {"maxframes": 3}}}}, "max_frames"),
        ({"experiment": {"game": {"id": "drift", "parameters": {"max_frames": 0}}}}, "drift.max_frames"),
        ({"experiment": {"play": {"input_delay": -1}}}, "experiment.play.input_delay"),
        ({"experiment": {"play": {"fps": float("nan")}}}, "experiment.play.fps"),
        ({"experiment": {"seed": -1}}, "experiment.seed"),
    ],
)
def test_a_mistake_is_named(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ServerSettings.model_validate(values)
    text = "\n".join(".".join(map(str, e["loc"])) + " " + e["msg"] for e in caught.value.errors())
    assert words in text


def test_settings_cannot_be_changed_and_equal_ones_have_equal_digests() -> None:
    one, two = Experiment(name="a"), Experiment(name="a")
    with pytest.raises(ValidationError):
        one.name = "b"
    assert one.digest() == two.digest() != Experiment(name="b").digest()
    assert msgspec.convert(one.play.settings(60), PlaySettings) == two.play.settings(60)
