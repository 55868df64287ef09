# SPDX-License-Identifier: Apache-2.0
"""ASGI middleware that checks each request: token, host, origin, method and size; and adds security headers."""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "lisa_console"
"""The port follows it: browsers give a host's cookies to all its ports, and so to other consoles."""
_DAY_S = 86400
OPEN_PATHS = frozenset({"/healthz"})
"""Paths that need no token: a health check has none, and their responses contain nothing about operators."""

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # Text never becomes HTML or script, even if the page's own code has a bug.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
SECURITY_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(self)",
}


@dataclass(frozen=True)
class Refusal:
    """Why a request is not served: an HTTP status and one sentence."""

    status: int
    sentence: str


class AccessCheck:
    """An ASGI middleware: passes a request to the application, or refuses it."""

    def __init__(self, app: ASGIApp, *, token: str, local: bool, tls: bool) -> None:
        """Wraps an application.

        Args:
            app: the application to protect.
            token: that a browser must send; empty: none is needed.
            local: whether only this machine can connect. Then the Host header must name this machine, so that a foreign
                name that resolves to it (DNS rebinding) does not open the page.
            tls: whether connections are encrypted.
        """
        self._app, self._token, self._local, self._tls = app, token, local, tls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, or refuses it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        refusal = self._refusal(scope, headers, given)
        if refusal is not None:
            await _refuse(refusal, scope, receive, send)
            return
        cookie = f"{_cookie(scope)}={_quoted(self._token)}" if self._is_token(given) else ""
        await self._app(scope, receive, self._with_headers(send, cookie))

    def _refusal(self, scope: Scope, headers: Headers, given: str) -> Refusal | None:
        if scope["type"] == "http":
            if scope["method"] not in ("GET", "HEAD"):
                return Refusal(405, "Only GET and HEAD are possible here.")
            if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
                return Refusal(413, "A request with a body is not possible here.")
        host = headers.get("host", "")
        if self._local and not _is_this_machine(host):
            return Refusal(421, "The console listens to this machine alone; open it as http://127.0.0.1.")
        origin = headers.get("origin")
        if (origin is not None or scope["type"] == "websocket") and not self._same_origin(origin, host):
            return Refusal(403, "The request comes from another page than the console's own.")
        kept = cookie_parser(headers.get("cookie", "")).get(_cookie(scope), "")
        known = self._is_token(given) or self._is_token(kept)
        if self._token and scope["path"] not in OPEN_PATHS and not known:
            return Refusal(401, "A token is needed: open the link that the console printed when it started.")
        return None

    def _same_origin(self, origin: str | None, host: str) -> bool:
        return origin == f"{'https' if self._tls else 'http'}://{host}"

    def _is_token(self, given: str) -> bool:
        return bool(self._token) and secrets.compare_digest(given.encode(), self._token.encode())

    def _with_headers(self, send: Send, cookie: str) -> Send:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(SECURITY_HEADERS)
                if cookie:
                    secure = "; Secure" if self._tls else ""
                    kept = f"Max-Age={30 * _DAY_S}; Path=/; HttpOnly; SameSite=Strict{secure}"
                    headers.append("set-cookie", f"{cookie}; {kept}")
            await send(message)

        return with_headers


def _cookie(scope: Scope) -> str:
    """The cookie's name."""
    _, port = scope.get("server") or ("", "")
    return f"{COOKIE}_{port}"


def _quoted(token: str) -> str:
    return SimpleCookie().value_encode(token)[1]


def _is_this_machine(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name or "").is_loopback  # 127.robot.example is a name, which may lead anywhere
    except ValueError:
        return False


async def _refuse(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": refusal.sentence})
        return
    response: Any = PlainTextResponse(refusal.sentence + "\n", refusal.status, SECURITY_HEADERS)
    await response(scope, receive, send)
