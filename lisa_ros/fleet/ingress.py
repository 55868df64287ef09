# SPDX-License-Identifier: Apache-2.0
"""The server's HTTP side: checks who asks and how much, and passes requests on to a replica.

GET  /PREFIX/model    {"model": its name}
POST /PREFIX/segment  a body of fleet.requests; the answer is a stream of lines of JSON, see Replica.answer
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from ray.exceptions import RayError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from lisa_ros.fleet.access import Access, AccessError, Quota
from lisa_ros.fleet.requests import MOST_BODY_BYTES

FRAME_HEADER = "x-lisa-frame"
"""The frame's name, by which the replica is chosen."""

UPLOAD_S = 30.0
"""How long a robot may send nothing within a request. A link that dies then does not say so."""

_AGAIN = {"event": "error", "kind": "again", "text": "the replica was lost"}


class _Answer(StreamingResponse):
    """A stream of lines. `ended` is called also where the robot has left before the first line was asked for."""

    def __init__(self, lines: AsyncIterator[bytes], ended: Callable[[], None]) -> None:
        super().__init__(lines, media_type="application/x-ndjson")
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See starlette."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._ended()


class Ingress:
    """One HTTP request after the other comes here, on one event loop."""

    def __init__(self, replicas: DeploymentHandle[Any], tokens: Mapping[str, str], quota: Quota) -> None:
        """Passes requests on to `replicas`."""
        self._replicas = replicas
        self._access = Access(tokens, quota)
        self._description: asyncio.Task[dict[str, Any]] | None = None

    async def __call__(self, request: Request) -> Response:
        """Serves a request."""
        try:
            robot = self._access.robot_of(request.headers.get("authorization", ""))
            if request.method == "GET" and request.url.path.endswith("/model"):
                return JSONResponse(await self._describe())
            if request.method == "POST" and request.url.path.endswith("/segment"):
                return await self._segment(robot, request)
        except AccessError as error:
            return JSONResponse({"error": str(error)}, error.status)
        except (BackPressureError, DeploymentUnavailableError) as error:
            return JSONResponse({"error": f"the server is full or starting: {error}"}, 503)
        except RayError as error:
            return JSONResponse({"error": f"a replica was lost: {type(error).__name__}"}, 503)
        return JSONResponse({"error": "only GET /model and POST /segment exist"}, 404)

    async def _describe(self) -> dict[str, Any]:
        """The model's description. All who ask at the same time share one request: it has a place in the queue."""
        if self._description is None or self._description.done():
            self._description = asyncio.ensure_future(_described(self._replicas))
        return await asyncio.shield(self._description)

    async def _segment(self, robot: str, request: Request) -> Response:
        if not _fits(request.headers.get("content-length", "")):
            return JSONResponse({"error": f"a request must have a content-length of at most {MOST_BODY_BYTES}"}, 413)
        self._access.begin(robot)
        body = None
        try:
            body = await _body(request)
        except TimeoutError:
            return JSONResponse({"error": f"nothing of the request came for {UPLOAD_S:.0f} s"}, 408)
        finally:
            if body is None:
                self._access.end(robot)
        if body is None:
            return JSONResponse({"error": f"a request has at most {MOST_BODY_BYTES} bytes"}, 413)
        frame = request.headers.get(FRAME_HEADER, "")[:64]
        return _Answer(self._lines(robot, frame, body), lambda: self._access.end(robot))

    async def _lines(self, robot: str, frame: str, body: bytes) -> AsyncIterator[bytes]:
        try:
            # The key has the robot in it, as the keys of the replicas' images have.
            replicas: Any = self._replicas.options(stream=True, session_id=f"{robot}/{frame}" if frame else "")
            async for line in replicas.answer.remote(robot, body):
                yield line
        except BackPressureError as error:
            yield _line({"event": "error", "kind": "full", "text": f"the server's queue is full ({error})"})
        except RayError:  # the replica died, or its machine: another one can answer
            yield _line(_AGAIN)


async def _described(replicas: DeploymentHandle[Any]) -> dict[str, Any]:
    described: dict[str, Any] = await replicas.describe.remote()
    return described


def _fits(content_length: str) -> bool:
    return content_length.isdecimal() and int(content_length) <= MOST_BODY_BYTES


async def _body(request: Request) -> bytes | None:
    """The request's body; None: it is too large, or the robot has left. A TimeoutError: UPLOAD_S of silence."""
    parts, size, now_s = [], 0, asyncio.get_running_loop().time
    try:
        async with asyncio.timeout(UPLOAD_S) as silence:
            async for part in request.stream():
                silence.reschedule(now_s() + UPLOAD_S)
                size += len(part)
                if size > MOST_BODY_BYTES:
                    return None
                parts.append(part)
    except ClientDisconnect:
        return None
    return b"".join(parts)


def _line(event: Mapping[str, str]) -> bytes:
    return json.dumps(event).encode() + b"\n"
