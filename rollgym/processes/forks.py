"""Code of others may fork, and its child come back to us: by an exception, ``sys.exit`` among them, or by returning.

That child has our connections and our files. It would play on beside us, answer for us and write what we write.
"""

from __future__ import annotations

import os
import sys


def end_if_forked(process: int) -> None:
    """End this process at once, without any of our cleanups, if it is not ``process``.

    To be called, in a ``finally``, where code of others returns. Its exit code is the one that it wanted.
    """
    if os.getpid() == process:
        return
    error = sys.exc_info()[1]
    wanted = error.code if isinstance(error, SystemExit) else 0 if error is None else 1
    os._exit((wanted & 0xFF) if isinstance(wanted, int) else 0 if wanted is None else 1)
