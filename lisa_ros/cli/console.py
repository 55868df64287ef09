# SPDX-License-Identifier: Apache-2.0
"""`lisa console`: the operators' page in a browser."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lisa_ros.cli.parsing import with_option
from lisa_ros.segmentation.errors import LisaError

_RATE_HZ = 15.0


def add(commands: Any) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser("console", help="start the operators' page: camera, dialogue and masks in a browser")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=8080, help="port to listen on; 0: any free one (default: %(default)s)"
    )
    parser.add_argument("--token", default="", help="secret for browsers on other machines (default: one is made)")
    parser.add_argument("--tls-cert", default="", metavar="FILE", help="certificate, PEM")
    parser.add_argument("--tls-key", default="", metavar="FILE", help="its private key, PEM")
    parser.add_argument(
        "--cameras", default="", metavar="NAMESPACES", help="namespaces of several cameras, as front,wrist"
    )
    parser.add_argument("--simulated", action="store_true", help="start a simulated camera and the node, too")
    simulated = with_option("simulated")
    parser.add_argument(
        "--seed", type=int, default=92, applies=simulated, help="scene of the simulated camera (default: %(default)s)"
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
    parameters |= {name: f"'{value}'" for name, value in named.items() if value}
    if options.cameras:
        parameters["cameras"] = str([name.strip() for name in options.cameras.split(",")])
    return ["console", "--ros-args", *(word for one in parameters.items() for word in ("-p", "{}:={}".format(*one)))]


@contextlib.contextmanager
def _simulation(options: argparse.Namespace) -> Iterator[None]:
    """A simulated camera and lisa_node beside the console."""
    from lisa_ros.demo.processes import node_command, running

    options.output.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    commands = {
        "camera": node_command("sim_camera", "/", {"seed": options.seed, "rate_hz": _RATE_HZ}),
        "node": node_command("lisa_node", "/", {}),
    }
    with running(commands, options.output):
        yield
