"""Where a peer stands in its match."""

from __future__ import annotations

from enum import Enum


class PeerPhase(Enum):
    """*Meeting* (hello until everybody was heard), then *playing* and *ending* in turn for each episode, *leaving*
    (bye, and still answering for a moment), done."""

    MEETING = "meeting"
    PLAYING = "playing"
    ENDING = "ending"
    LEAVING = "leaving"
    DONE = "done"
