"""Processes of our own in which other people's code runs: games, policies, whatever decodes what came from outside.

A process that serves connections never runs a game itself (``docs/architecture.md``). It starts a
:class:`~rollgym.processes.parent.Child`: a fresh interpreter that calls one function of ours in its main thread, and
talks with it in messages over a socket pair. What that process prints is its parent's to log.
"""
