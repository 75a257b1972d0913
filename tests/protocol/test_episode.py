"""The export: its check finds every flaw and names the place; its digest covers everything that must be equal."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollgym.protocol.episode.column import Column, ExportError
from rollgym.protocol.episode.export import OWN_COLUMNS, Canonical, Export, Info, Own, Tail, content_digest
from rollgym.protocol.episode.export_body import decode_export, encode_export
from rollgym.protocol.episode.export_check import check_export
from rollgym.protocol.episode.values import pack_value
from tests.protocol.episodes import exports, small_episode

INFOS = [Info(0, 0, "x", pack_value(1)), Info(2, 1, "a", pack_value("b")), Info(2, 1, "x", pack_value(2))]


def small_export(frames: int = 3) -> Export:
    header, canonical = small_episode(frames, [info for info in INFOS if info.row <= frames])
    columns = {name: Column.of(np.zeros(frames, dtype)) for name, dtype in OWN_COLUMNS.items()}
    own = Own(1, columns, [], None, {}, {"name": "idle"}, {}, 1.0, 2.0)
    return Export(header, canonical, own, content_digest(header, canonical))


def _sealed(export: Export) -> Export:
    return msgspec.structs.replace(export, digest=content_digest(export.header, export.canonical))


def _with_column(export: Export, name: str, column: Column | None) -> Export:
    columns = {key: value for key, value in export.canonical.columns.items() if key != name}
    if column is not None:
        columns[name] = column
    return _sealed(msgspec.structs.replace(export, canonical=Canonical(columns, export.canonical.infos)))


def _with_header(export: Export, **changes: Any) -> Export:
    return _sealed(msgspec.structs.replace(export, header=msgspec.structs.replace(export.header, **changes)))


def _with_npc(export: Export, agent: str) -> Export:
    return _with_header(export, game=msgspec.structs.replace(export.header.game, npcs=(agent,)))


def _with_infos(export: Export, infos: list[Info]) -> Export:
    return _sealed(msgspec.structs.replace(export, canonical=Canonical(export.canonical.columns, infos)))


def _with_own(export: Export, **changes: Any) -> Export:
    return msgspec.structs.replace(export, own=msgspec.structs.replace(export.own, **changes))


@given(exports())
def test_a_valid_export_goes_over_the_wire_unchanged(export: Export) -> None:
    body = encode_export(export)
    back = decode_export(body)
    assert encode_export(back) == body
    assert back.canonical == export.canonical
    assert content_digest(back.header, back.canonical) == export.digest


FLAWS: dict[str, tuple[Any, str]] = {
    "another schema": (lambda e: _with_header(e, schema=9), "header.schema"),
    "a player too many": (lambda e: _with_own(e, player=2), "own.player"),
    "more players than agents": (lambda e: _with_header(e, participants=("a", "b", "c")), "own.player"),
    "no rewards": (lambda e: _with_column(e, "rewards", None), "canonical.columns.rewards"),
    "a foreign column": (
        lambda e: _with_column(e, "bonus", Column.of(np.zeros(3))),
        "canonical.columns.bonus",
    ),
    "observations of nobody": (
        lambda e: _with_column(e, "observations/c/at", Column.of(np.zeros(4))),
        "canonical.columns.observations/c/at",
    ),
    "an observation row too few": (
        lambda e: _with_column(e, "observations/a/at", Column.of(np.zeros((3, 2)))),
        "canonical.columns.observations/a/at",
    ),
    "rewards of another type": (
        lambda e: _with_column(e, "rewards", Column.of(np.zeros((3, 2), np.float32))),
        "canonical.columns.rewards",
    ),
    "rewards of another shape": (
        lambda e: _with_column(e, "rewards", Column.of(np.zeros((3, 3)))),
        "canonical.columns.rewards",
    ),
    "a gap in the frames": (
        lambda e: _with_column(e, "frame", Column.of(np.array([0, 1, 3], np.uint32))),
        "canonical.columns.frame",
    ),
    "an unknown input source": (
        lambda e: _with_column(e, "input_source", Column.of(np.full((3, 2), 2, np.uint8))),
        "canonical.columns.input_source",
    ),
    "a player's frame as an NPC's": (
        lambda e: _with_column(e, "input_source", Column.of(np.array([[0, 0], [0, 2], [0, 0]], np.uint8))),
        "canonical.columns.input_source",
    ),
    "an NPC's frame as a player's": (
        lambda e: _with_npc(_with_own(_with_header(e, participants=("p0",)), player=0), "b"),
        "canonical.columns.input_source",
    ),
    "more participants than players": (lambda e: _with_npc(e, "b"), "own.player"),
    "flat actions": (
        lambda e: _with_column(e, "actions/a", Column.of(np.zeros(3, np.uint8))),
        "canonical.columns.actions/a",
    ),
    "bytes missing": (
        lambda e: _with_column(e, "rewards", Column("<f8", (3, 2), b"\0" * 40)),
        "canonical.columns.rewards.data",
    ),
    "objects": (
        lambda e: _with_column(e, "observations/b/at", Column("|O", (4,), b"\0" * 32)),
        "canonical.columns.observations/b/at.dtype",
    ),
    "complete without an end": (
        lambda e: _with_column(e, "terminations", Column.of(np.zeros((3, 2), bool))),
        "header.status",
    ),
    "frames after the end": (
        lambda e: _with_column(e, "truncations", Column.of(np.ones((3, 2), bool))),
        "header.status",
    ),
    "broken off after the end": (
        lambda e: _with_header(_with_column(e, "truncations", Column.of(np.ones((3, 2), bool))), status="aborted"),
        "header.frames",
    ),
    "infos out of order": (lambda e: _with_infos(e, INFOS[::-1]), "canonical.infos[1]"),
    "an info twice": (lambda e: _with_infos(e, [INFOS[0], INFOS[0]]), "canonical.infos[1]"),
    "an info beyond the end": (lambda e: _with_infos(e, [Info(4, 0, "x", pack_value(1))]), "canonical.infos[0]"),
    "an info of nobody": (lambda e: _with_infos(e, [Info(0, 2, "x", pack_value(1))]), "canonical.infos[0]"),
    "an info that is no value": (lambda e: _with_infos(e, [Info(0, 0, "x", b"\xc1")]), "canonical.infos[0]"),
    "no own column": (lambda e: _with_own(e, columns={}), "own.columns.was_speculative"),
    "a foreign own column": (
        lambda e: _with_own(e, columns={**e.own.columns, "mood": Column.of(np.zeros(3))}),
        "own.columns.mood",
    ),
    "what was seen, but not when": (
        lambda e: _with_own(e, columns={**e.own.columns, "seen/x": Column.of(np.zeros(3))}),
        "own.columns.seen/x",
    ),
    "a crooked tail": (lambda e: _with_own(e, tail=Tail(3, [(b"a", b"b")], [], [])), "own.tail"),
    "another digest": (lambda e: msgspec.structs.replace(e, digest=b"\0" * 32), "digest"),
}


def test_the_small_export_is_valid() -> None:
    check_export(small_export())


@pytest.mark.parametrize("flaw", FLAWS)
def test_every_flaw_is_named(flaw: str) -> None:
    spoil, field = FLAWS[flaw]
    with pytest.raises(ExportError) as caught:
        decode_export(encode_export(spoil(small_export())))
    assert caught.value.field == field


def test_an_empty_episode_is_not_complete() -> None:
    export = small_export(frames=1)
    empty = {
        name: Column.of(column.array()[: len(column.array()) - 1]) for name, column in export.canonical.columns.items()
    }
    own = {name: Column.of(np.zeros(0, dtype)) for name, dtype in OWN_COLUMNS.items()}
    export = msgspec.structs.replace(export, canonical=Canonical(empty, [])).__class__(
        msgspec.structs.replace(export.header, frames=0),
        Canonical(empty, []),
        msgspec.structs.replace(export.own, columns=own),
        export.digest,
    )
    with pytest.raises(ExportError, match=r"header\.status: complete, but there is no frame"):
        check_export(_sealed(export))
    check_export(_with_header(export, status="aborted"))


def test_the_digest_covers_header_columns_and_infos() -> None:
    export = small_export()
    header, canonical = export.header, export.canonical
    variants = [
        (header, canonical),
        (msgspec.structs.replace(header, seed=header.seed + 1), canonical),
        (msgspec.structs.replace(header, settings=msgspec.structs.replace(header.settings, fps=1.0)), canonical),
        (header, Canonical(canonical.columns, INFOS[:1])),
        (header, Canonical(canonical.columns, [*INFOS[:2], Info(2, 1, "x", pack_value(2.0))])),
    ]
    for name, column in canonical.columns.items():
        other = Column(column.dtype, column.shape, bytes([column.data[0] ^ 1]) + column.data[1:])
        variants.append((header, Canonical({**canonical.columns, name: other}, canonical.infos)))
        bent = Column(column.dtype, (*column.shape, 1), column.data)
        variants.append((header, Canonical({**canonical.columns, name: bent}, canonical.infos)))
        renamed = {key + "!" if key == name else key: value for key, value in canonical.columns.items()}
        variants.append((header, Canonical(renamed, canonical.infos)))
    digests = [content_digest(*variant) for variant in variants]
    assert len(set(digests)) == len(digests)


def test_the_digest_does_not_depend_on_the_order_of_columns() -> None:
    export = small_export()
    turned = Canonical(dict(reversed(export.canonical.columns.items())), export.canonical.infos)
    assert content_digest(export.header, turned) == export.digest


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_no_export(data: bytes) -> None:
    with pytest.raises(ExportError):
        decode_export(data)


BODY = encode_export(small_export())


@given(data=st.data())
def test_a_damaged_export_is_refused_or_still_one(data: st.DataObject) -> None:
    damaged = bytearray(BODY)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        export = decode_export(bytes(damaged))
    except ExportError as error:
        assert error.field  # noqa: PT017 - either outcome is right
    else:
        # Only the peer's own part is not covered by the digest.
        assert content_digest(export.header, export.canonical) == small_export().digest


@pytest.mark.parametrize(
    "array",
    [
        np.array([1.5, np.nan]),
        np.arange(6, dtype=">i4").reshape(2, 3),
        np.arange(12)[::2],
        np.zeros((0, 3)),
        np.array([True, False]),
        np.array([[1 + 2j]]),
    ],
)
def test_a_column_has_the_values_of_its_array(array: np.ndarray) -> None:
    column = Column.of(array)
    back = column.array()
    assert back.shape == array.shape
    assert np.array_equal(back, array, equal_nan=array.dtype.kind in "fc")
    assert back.dtype.str[0] in "<|"
    assert not back.flags.writeable
