"""An episode's export out of what was recorded."""

from __future__ import annotations

from typing import Any

from rollgym.client_sim.record.recorder import EpisodeRecorder
from rollgym.client_sim.rollback.session import Session
from rollgym.protocol.episode.export import Export, Header, Own, Tail, content_digest


def make_tail(recorder: EpisodeRecorder, session: Session) -> Tail | None:
    """The frames that were simulated but never became canonical, apart from the facts."""
    rows = recorder.speculative.rows()
    if not rows:
        return None
    start = recorder.speculative.first
    real = [
        tuple(
            frame <= queue.last and queue.value(frame) == row.inputs[player]
            for player, queue in enumerate(session.queues)
        )
        for frame, row in enumerate(rows, start)
    ]
    return Tail(start, [row.inputs for row in rows], real, [tuple(map(float, row.outcome.rewards)) for row in rows])


def make_export(
    header: Header,
    recorder: EpisodeRecorder,
    tail: Tail | None,
    *,
    stats: dict[str, Any],
    policy: dict[str, Any],
    software: dict[str, str],
    started_at: float,
    ended_at: float,
) -> Export:
    """The export of the recorder's present content: of its first ``header.frames`` canonical frames."""
    frames = None if header.frames == recorder.canonical.frames else header.frames
    canonical = recorder.build(frames)
    own = Own(
        player=recorder.player,
        columns=recorder.own_columns(frames),
        rollbacks=list(recorder.rollbacks),
        tail=tail,
        stats=stats,
        policy=policy,
        software=software,
        started_at=started_at,
        ended_at=ended_at,
    )
    return Export(header, canonical, own, content_digest(header, canonical))
