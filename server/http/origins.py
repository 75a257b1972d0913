"""Web pages that may use the server: a browser says which page it is that asks, and keeps answers from others.

Programs that are no browsers send no ``Origin``, and are not asked for one.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from rollgym.server.errors import RefusedError

ANY = "*"

_METHODS = "GET, PUT"
_HEADERS = "Authorization, Content-Type, Content-Encoding"
_REMEMBER = "600"
# Seconds in which a browser need not ask again.


def allowed(origin: str | None, host: str, origins: Sequence[str]) -> bool:
    """Whether a page of this origin may use the server that is reached at ``host``. None: it is no page."""
    if origin is None or ANY in origins or origin in origins:
        return True
    try:
        return bool(host) and urlsplit(origin).netloc == host
    except ValueError:  # no URL
        return False


def guard(origins: Sequence[str]) -> Middleware:
    """Middleware that refuses pages of other origins, and tells browsers of those that are allowed."""

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if not allowed(origin, request.host, origins):
            text = f"pages of {origin[:200] if origin else origin} may not use this server"
            error = RefusedError(403, "bad_origin", text, field="Origin", expected="one of server.origins")
            return web.json_response(error.acknowledgement(), status=error.status)
        if origin is None:
            return await handler(request)
        asked = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        response = web.Response(status=204) if asked else await handler(request)
        if not response.prepared:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Vary"] = "Origin"
            if asked:
                response.headers["Access-Control-Allow-Methods"] = _METHODS
                response.headers["Access-Control-Allow-Headers"] = _HEADERS
                response.headers["Access-Control-Max-Age"] = _REMEMBER
        return response

    return guarded
