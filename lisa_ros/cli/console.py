# SPDX-License-Identifier: Apache-2.0
"""`lisa console`: the operators' page in a browser."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lisa_ros.cli.parsing import with_option
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.files.arguments import at_least, tcp_port

if TYPE_CHECKING:  # the other commands need no ROS
    from lisa_ros.demo.processes import Child

_RATE_HZ = 15.0
_CHECK_S = 1.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def add(commands: Any) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser("console", help="start the operators' page: camera, dialogue and masks in a browser")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=tcp_port(0), default=8080, help="port to listen on; 0: any free one (default: %(default)s)"
    )
    parser.add_argument(
        "--token", default="", help="secret for browsers on other machines (default: generated where one is needed)"
    )
    parser.add_argument("--tls-cert", default="", metavar="FILE", help="certificate, PEM")
    parser.add_argument("--tls-key", default="", metavar="FILE", help="its private key, PEM")
    parser.add_argument(
        "--cameras", default="", metavar="NAMESPACES", help="namespaces of several cameras, for example front,wrist"
    )
    parser.add_argument("--simulated", action="store_true", help="start a simulated camera and the node, too")
    simulated = with_option("simulated")
    parser.add_argument(
        "--seed",
        type=at_least(0),
        default=92,
        applies=simulated,
        help="scene of the simulated camera (default: %(default)s)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("output/console"),
        applies=simulated,
        help="folder of the logs of --simulated",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs it until Ctrl-C; returns the exit status."""
    try:
        from lisa_ros.demo.processes import share_memory
        from lisa_ros.nodes.console import node
    except ModuleNotFoundError as error:
        raise LisaError(
            f"the console needs ROS 2: source it and this package's install/local_setup.bash ({error})"
        ) from error
    share_memory()
    with _simulation(options) if options.simulated else contextlib.nullcontext():
        return node.main(_arguments(options))


def _arguments(options: argparse.Namespace) -> list[str]:
    """The node's command line."""
    parameters: dict[str, Any] = {"host": options.host, "port": options.port}
    named = {"token": options.token, "tls_cert": options.tls_cert, "tls_key": options.tls_key}
    parameters |= {name: value for name, value in named.items() if value}
    if options.cameras:
        parameters["cameras"] = [name.strip() for name in options.cameras.split(",")]
    # JSON is YAML: a text of any letters stays one text.
    words = (word for name, value in parameters.items() for word in ("-p", f"{name}:={json.dumps(value)}"))
    return ["console", "--ros-args", *words]


@contextlib.contextmanager
def _simulation(options: argparse.Namespace) -> Iterator[None]:
    """A simulated camera and lisa_node beside the console, which end with it."""
    from lisa_ros.demo.processes import node_command, running
    from lisa_ros.nodes.common.starting import Stop

    options.output.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    commands = {
        "camera": node_command("sim_camera", "/", {"seed": options.seed, "rate_hz": _RATE_HZ}),
        "node": node_command("lisa_node", "/", {}),
    }
    stop = Stop()
    stop.at_signals(signal.SIGHUP)  # only recorded: an exception while a process starts or ends would leave it behind
    with running(commands, options.output) as children, _reporting(children):
        print(f"Logs: {', '.join(str(child.log) for child in children)}", flush=True)
        try:
            for number in _SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, signal.default_int_handler)
            if stop.is_set():
                raise KeyboardInterrupt
            yield
        finally:
            stop.at_signals(signal.SIGHUP)


@contextlib.contextmanager
def _reporting(children: Sequence[Child]) -> Iterator[None]:
    """Prints the end of the log of each process that ends by itself."""
    ending = threading.Event()
    thread = threading.Thread(target=_report_ends, args=(list(children), ending), name="children", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def _report_ends(children: list[Child], ending: threading.Event) -> None:
    from lisa_ros.demo.failure import DemoError

    while children and not ending.wait(_CHECK_S):
        for child in list(children):
            try:
                child.check()
            except DemoError as error:
                children.remove(child)
                print(f"lisa console: {error}", file=sys.stderr, flush=True)
