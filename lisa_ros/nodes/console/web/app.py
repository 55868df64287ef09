# SPDX-License-Identifier: Apache-2.0
"""The console's web application: the page, its files, its WebSocket, /healthz."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from importlib.resources import as_file, files
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from lisa_ros.nodes.console.camera_view import CameraView
from lisa_ros.nodes.console.page import Page
from lisa_ros.nodes.console.parameters import ConsoleParameters
from lisa_ros.nodes.console.texts import texts_for
from lisa_ros.nodes.console.web.access import AccessCheck

_LOG = logging.getLogger(__name__)

TICK_S = 0.1
_TRY_AGAIN = 1013
_NO_STORE = {"cache-control": "no-store"}


class _StaticFiles(StaticFiles):
    """Browsers ask each time whether a file has changed: after an upgrade none runs old scripts beside a new page."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """See StaticFiles."""
        response = super().file_response(*args, **kwargs)
        response.headers["cache-control"] = "no-cache"
        return response


class ConsoleApp:
    """The routes. Belongs to the event loop's thread."""

    def __init__(self, parameters: ConsoleParameters, cameras: Mapping[str, CameraView], token: str) -> None:
        """Takes the cameras by their namespaces, and the token that browsers must show (empty: none)."""
        self._parameters, self._cameras = parameters, cameras
        self._pages: set[Page] = set()
        with as_file(files("lisa_ros.nodes.console") / "static") as folder:
            self._folder = folder
        routes = [
            Route("/", self._index),
            Route("/healthz", self._health),
            Route("/texts", self._texts),
            WebSocketRoute("/page", self._page),
            Mount("/static", _StaticFiles(directory=self._folder, follow_symlink=True)),
        ]
        inner = Starlette(routes=routes)
        self.app: ASGIApp = AccessCheck(inner, token=token, local=parameters.local, tls=bool(parameters.tls_cert))

    async def tick(self) -> None:
        """Checks the nodes until it is cancelled."""
        while True:
            for camera in self._cameras.values():
                try:
                    camera.tick()
                except Exception:  # the pages would never learn any more that a node is lost
                    _LOG.exception("The state of a node could not be checked.")
            await asyncio.sleep(TICK_S)

    async def _index(self, request: Request) -> Response:
        return FileResponse(self._folder / "index.html", headers=_NO_STORE)

    async def _texts(self, request: Request) -> Response:
        return JSONResponse(texts_for(request.headers.get("accept-language", "")), headers=_NO_STORE)

    async def _health(self, request: Request) -> Response:
        cameras = {name or "default": camera.health() for name, camera in self._cameras.items()}
        well = all(one["camera"] and one["node"] and one["model"] for one in cameras.values())
        content = {"ok": well, "pages": len(self._pages), "cameras": cameras}
        return JSONResponse(content, 200 if well else 503, headers=_NO_STORE)

    async def _page(self, socket: WebSocket) -> None:
        await socket.accept()
        if len(self._pages) >= self._parameters.max_pages:
            await socket.close(_TRY_AGAIN, "too many pages are open")
            return
        page = Page(socket, self._cameras)
        self._pages.add(page)
        try:
            await page.serve()
        finally:
            self._pages.discard(page)
