"""Playing an experiment: the server and its peers as processes, or all of it in virtual time."""

from __future__ import annotations
