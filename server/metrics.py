"""What the server counts, for Prometheus. One registry per server, so that several can live in one process."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """Counters and gauges. Children that the relay touches per packet are made once, here."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self.connections = Gauge("rollgym_connections", "Open control connections", registry=r)
        self.connections_lost = Counter(
            "rollgym_connections_lost", "Control connections of players that broke during play", registry=r
        )
        self.resumes = Counter("rollgym_resumes", "Seats taken again after that", registry=r)
        self.players_away = Gauge("rollgym_players_away", "Seats that are held for their players' return", registry=r)
        self.not_joined = Counter(
            "rollgym_not_joined", "Control connections that neither waited nor played, and were closed", registry=r
        )
        self.waiting = Gauge("rollgym_waiting", "Clients in the queue", registry=r)
        self.matches_open = Gauge("rollgym_matches_open", "Matches that are not over", registry=r)
        self.matches = Counter("rollgym_matches", "Matches by what became of them", ["outcome"], registry=r)
        self.refused = Counter("rollgym_refused", "Refused messages and requests", ["code"], registry=r)
        self.verdicts = Counter("rollgym_verdicts", "Verdicts on episodes", ["verdict"], registry=r)
        self.uploads = Counter("rollgym_uploads", "Uploads by what became of them", ["result"], registry=r)
        self.upload_bytes = Counter("rollgym_upload_bytes", "Bytes of accepted uploads, uncompressed", registry=r)
        self.upload_seconds = Histogram("rollgym_upload_seconds", "From request to durable", registry=r)
        self.judge_seconds = Histogram("rollgym_judge_seconds", "From all uploads in to the verdict", registry=r)
        self.dropped_clients = Counter("rollgym_dropped_clients", "Clients that did not read", registry=r)
        self.orphans = Gauge("rollgym_orphans", "Files and rows that do not belong together", registry=r)
        self.relay_connections = Gauge("rollgym_relay_connections", "Open relay connections", registry=r)
        dropped = Counter("rollgym_relay_dropped", "Packets not delivered", ["reason"], registry=r)
        self.relay_packets = Counter("rollgym_relay_packets", "Packets delivered to a receiver's socket", registry=r)
        self.relay_bytes = Counter("rollgym_relay_bytes", "Bytes of these", registry=r)
        self.dropped_slow = dropped.labels("receiver_slow")
        self.dropped_rate = dropped.labels("sender_too_fast")
        self.dropped_absent = dropped.labels("receiver_absent")

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)
