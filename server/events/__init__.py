"""What happens on a server, as typed events: the log, the metrics and whoever else wants to know subscribe to them."""

from __future__ import annotations
