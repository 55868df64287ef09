# SPDX-License-Identifier: Apache-2.0
"""The node `console`: a web server for operators, and a ROS node that sends their commands to lisa_node.

Two threads: the executor's calls ROS, the event loop's owns all data that pages show. They call each other by
`RosCalls` and `call_soon_threadsafe` only.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import rclpy
from rclpy.executors import Executor, ExternalShutdownException
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from lisa_ros.nodes.common.command_line import check_program, report_overrides
from lisa_ros.nodes.common.guarding import GuardedExecutor, guarded_by
from lisa_ros.nodes.common.starting import START_ERRORS, at_signals, start_ros
from lisa_ros.nodes.console.listening import listening
from lisa_ros.nodes.console.parameters import ConsoleParameters, declared, descriptions
from lisa_ros.segmentation.errors import LisaError, how_to_install

if TYPE_CHECKING:  # the web packages are an extra
    import uvicorn
    from starlette.types import ASGIApp

MISSING = f"The console needs starlette, uvicorn, websockets and segno; {how_to_install('console')}."
_LARGEST_MESSAGE = 65536
"""Maximum size of a page's message, bytes."""
_ENCODERS, _NICE = 4, 10
"""Threads that encode images, and their nice value (0 to 19): the robot's other threads come first."""


class ConsoleNode(Node):
    """The ROS node, with which the cameras' views subscribe and send."""

    def __init__(self) -> None:
        """Reads the parameters.

        Raises:
            ConsoleParameterError: a parameter has a value that cannot be used.
        """
        super().__init__("console")
        self.callback_errors, self.failed = 0, False
        self.parameters = declared(self)


class RosCalls:
    """Runs functions on the executor's thread, in the order in which they were given.

    Tasks of rclpy's executor that wait at the same time run in the opposite order, an operator's commands among them.
    """

    def __init__(self, node: Any, executor: Any) -> None:
        """The node counts and logs errors of the functions."""
        self._executor, self._waiting = executor, deque[tuple[Callable[..., Any], tuple[Any, ...]]]()
        self._run = guarded_by(node, self._run_next, False)

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Run a function soon; from any thread."""
        self._waiting.append((function, arguments))
        self._executor.create_task(self._run)

    def _run_next(self) -> None:
        function, arguments = self._waiting.popleft()
        function(*arguments)


def main(args: Sequence[str] | None = None) -> int:
    """Runs the console until SIGINT, SIGTERM or SIGHUP.

    Returns:
        0; 1 if it could not start, after printing the reason, or if its executor failed.
    """
    try:
        if check_program(args, "console", "Serves the operators' page (docs/operators.md).", descriptions()):
            return 0
        import lisa_ros.nodes.console.web.app  # noqa: F401  the web packages are an extra

        start_ros(args, SignalHandlerOptions.NO)
        return _run(args)
    except ImportError as error:
        print(f"console: {MISSING} ({error})", file=sys.stderr)
        return 1
    except (*START_ERRORS, LisaError, OSError) as error:
        print(f"console: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        rclpy.try_shutdown()


def _run(args: Sequence[str] | None) -> int:
    node = ConsoleNode()
    executor = GuardedExecutor()
    executor.add_node(node)
    try:
        report_overrides(node, args)
        parameters = node.parameters
        with listening(parameters.host, parameters.port, node.get_logger().warning) as listener:
            asyncio.run(_serve(node, executor, listener))
    finally:
        executor.shutdown()
        node.destroy_node()
    return int(node.failed)


def lower_priority() -> None:
    """Lowers the priority of the calling thread, which encodes images for people."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


async def _serve(node: ConsoleNode, executor: Executor, listener: socket.socket) -> None:
    import uvicorn

    from lisa_ros.nodes.console.camera_view import CameraView
    from lisa_ros.nodes.console.web.app import ConsoleApp

    parameters, loop = node.parameters, asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(_ENCODERS, "jpeg", lower_priority))
    token = parameters.token or ("" if parameters.local else secrets.token_urlsafe(24))
    compressed = parameters.image_transport == "compressed"

    run_in_ros = RosCalls(node, executor)
    cameras = {name: CameraView(node, name, compressed, loop, run_in_ros) for name in parameters.cameras}
    console = ConsoleApp(parameters, cameras, token)
    server = uvicorn.Server(_server_config(console.app, parameters))
    thread = threading.Thread(target=_spin, args=(node, executor, loop, server), name="console_executor", daemon=True)
    thread.start()
    _end_by_signals(server)
    _announce(node, parameters, token, listener.getsockname()[1])
    ticking = asyncio.create_task(console.tick())
    try:
        await server.serve(sockets=[listener])
    finally:
        ticking.cancel()
        executor.shutdown(timeout_sec=2)
        thread.join(2)


def _end_by_signals(server: Any) -> None:
    """SIGINT, SIGTERM and SIGHUP end the server, also before uvicorn handles the first two itself, perhaps later.

    uvicorn raises the signal that ended it a second time, which must not interrupt the rest of the shutdown.
    """
    at_signals(lambda: setattr(server, "should_exit", True), signal.SIGHUP)


def _server_config(app: ASGIApp, parameters: ConsoleParameters) -> uvicorn.Config:
    import uvicorn

    from lisa_ros.nodes.console.web.connections import BoundedConnection

    return uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,  # a link with a token must not be in a log
        lifespan="off",  # the app has none, and a second Ctrl-C would end it with a traceback
        http=BoundedConnection,
        ws="websockets-sansio",
        ws_max_size=_LARGEST_MESSAGE,
        ws_per_message_deflate=False,  # JPEG files do not get smaller
        ws_ping_interval=5.0,
        ws_ping_timeout=60.0,  # over a slow link a ping waits behind an image
        timeout_graceful_shutdown=1,
        server_header=False,
        ssl_certfile=parameters.tls_cert or None,
        ssl_keyfile=parameters.tls_key or None,
    )


def _spin(node: ConsoleNode, executor: Executor, loop: asyncio.AbstractEventLoop, server: Any) -> None:
    """Runs ROS's callbacks; when ROS shuts down, ends the server."""
    try:
        executor.spin()
    except ExternalShutdownException:
        pass
    except Exception as error:  # without ROS, pages would show an old state
        node.failed = True
        node.get_logger().fatal(f"The console ends: {type(error).__name__}: {error}")
    loop.call_soon_threadsafe(setattr, server, "should_exit", True)


def _announce(node: ConsoleNode, parameters: ConsoleParameters, token: str, port: int) -> None:
    """Logs the page's address; where a token is needed, prints it once, as a link and as a QR code for a tablet."""
    scheme = "https" if parameters.tls_cert else "http"
    everywhere = parameters.host in ("0.0.0.0", "::")
    host = socket.gethostname() if everywhere else parameters.host
    link = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/"
    if not token:
        node.get_logger().info(f"The operators' page: {link}")
        return
    if not parameters.tls_cert:
        node.get_logger().warning("Without tls_cert and tls_key, others in the network can read the token.")
    import segno

    whole = f"{link}?token={token}"
    print(f"The operators' page (only this link opens it): {whole}", flush=True)
    segno.make(whole, micro=False).terminal(compact=True)


if __name__ == "__main__":
    sys.exit(main())
