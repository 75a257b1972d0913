"""From a match's uploads to its verdicts and its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from rollgym.protocol.messages import COMPLETE, MatchOver
from rollgym.server.events.kinds import MatchEnded
from rollgym.server.play.hall import Hall
from rollgym.server.play.match import Match, verdict_message
from rollgym.server.record.judging import Judging
from rollgym.server.storage.errors import Stopped
from rollgym.server.storage.rows import UnjudgedRow


class Settling:
    """Of all matches. ``counted`` is called when one of an experiment's matches is over."""

    def __init__(self, hall: Hall, judging: Judging, counted: Callable[[], None]) -> None:
        self._hall = hall
        self.judging = judging
        self._counted = counted

    def settle(self, match: Match) -> None:
        """Start what can be judged; end the match if all is done; come back when the grace is over."""
        if match.ended or self._hall.stopping:
            return
        now = self._hall.clock()
        for episode in match.to_judge(now):
            match.running.add(episode)
            self._hall.background.start(self._judge(match, episode))
        if match.over(now):
            match.ended = True
            self._hall.background.start(self._end(match))
            return
        at = match.changes_at(now)
        if at is not None:
            asyncio.get_running_loop().call_later(at - now + 0.001, self.settle, match)

    async def _judge(self, match: Match, episode: int) -> None:
        try:
            row, considered = await self.judging.judge(match.row, episode)
        except Stopped:
            return  # the next start goes on
        match.running.discard(episode)
        if isinstance(row, UnjudgedRow):
            match.unjudged[episode] = row
        else:
            match.judged[episode] = considered
            match.verdicts[episode] = verdict_message(row)
            match.unjudged.pop(episode, None)
            for player in range(len(match.seats)):
                await self._hall.seat_resume.say(match, player, match.verdicts[episode])
        self.settle(match)

    async def _end(self, match: Match) -> None:
        hall, reason = self._hall, match.outcome()
        # Whatever the catalogue says, the match is over: nobody is kept waiting, and the next start ends it there.
        await hall.background.write(
            "end_match", match.row.id, lambda: hall.catalogue.end_match(match.row.id, time.time(), reason)
        )
        if not match.over(hall.clock()):
            match.ended = False  # an upload came in the meantime: it is judged first
            self.settle(match)
            return
        for player in range(len(match.seats)):
            hall.release(match, player)
        hall.forget(match)
        for player in range(len(match.seats)):
            await hall.seat_resume.say(match, player, MatchOver(match.row.id, reason))
        hall.events.publish(MatchEnded(match=match.row.id, reason=reason, complete=reason == COMPLETE))
        if match.counts and match.experiment is not None:
            match.counts = False
            match.experiment.series.over += 1
            self._counted()
