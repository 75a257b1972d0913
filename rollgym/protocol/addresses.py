"""Addresses as a server tells them: URL references, resolved against the URL by which the client has reached it."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

SCHEMES = ("http", "https")


def resolved(server: str, address: str) -> str:
    """``address`` (RFC 3986) seen from ``server``, which may end below a prefix: ``https://lab.example/rollgym``.

    Raises ``ValueError`` for what is no address of a web server.
    """
    found = urljoin(server.rstrip("/") + "/", address)
    parts = urlsplit(found)
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise ValueError(f"{address[:200]!r}: expected an http or https address, or one relative to the server's")
    return found
