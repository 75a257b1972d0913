"""What a child process does first. Run as ``python -P -c "from rollgym.processes.bootstrap import main; main()"``.

Arguments: the descriptor of the channel, that of the lifeline, and the function to call, as ``module:function``. The
first message on the channel is the parent's ``sys.path``, so that what the parent can import can be imported here.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
import threading
import time

from rollgym.processes.channel import Channel, ChannelClosed

LAST_WORD = 10.0
"""Seconds in which a child whose parent is gone may bring what it has to an end; then it is ended."""

_end = os._exit
# As it is now: see own_process.py.


def main() -> None:
    """Call the function with the channel. Its exceptions end the process, with a traceback among what it prints."""
    descriptor, lifeline, target = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    sys.argv = [target]
    threading.Thread(target=_end_with_parent, args=(lifeline,), name="lifeline", daemon=True).start()
    channel = Channel(socket.socket(fileno=descriptor))
    try:
        paths = channel.receive()
        assert paths is not None
        sys.path[:] = json.loads(paths)
        module, _, function = target.partition(":")
        getattr(importlib.import_module(module), function)(channel)
    except ChannelClosed:
        raise SystemExit(1) from None


def _end_with_parent(lifeline: int) -> None:
    """The parent holds the other end of this pipe, and the system closes it however the parent dies."""
    while os.read(lifeline, 4096):
        pass
    time.sleep(LAST_WORD)
    _end(1)
