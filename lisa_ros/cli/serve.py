# SPDX-License-Identifier: Apache-2.0
"""`lisa serve`: one model for many robots, over HTTP."""

from __future__ import annotations

import argparse
import dataclasses
import secrets
import sys
from pathlib import Path
from typing import Any

from lisa_ros.cli.options import add_checkpoint, add_load_options, count, load_options, whole_number
from lisa_ros.segmentation.errors import LisaError, how_to_install
from lisa_ros.segmentation.files.arguments import number, tcp_port

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def add(commands: Any) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser(
        "serve", help="serve a model to robots whose computers are too small for it (Ray Serve)"
    )
    add_checkpoint(parser)
    add_load_options(parser)
    parser.add_argument(
        "--name", default="lisa", help="the model's name; robots use lisa://HOST:PORT/NAME (default: lisa)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=tcp_port(1), default=8000, help="port to listen on (default: %(default)s)")
    parser.add_argument(
        "--tokens", type=Path, metavar="FILE", help="the robots that may use the server: a line ROBOT TOKEN each"
    )
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate, PEM; robots then use lisas://")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key, PEM")
    parser.add_argument(
        "--replicas", type=whole_number, default=1, help="processes with the model (default: %(default)s)"
    )
    parser.add_argument(
        "--most-replicas",
        type=count,
        default=0,
        help="maximum number of replicas, started while commands wait; 0: no more than --replicas",
    )
    parser.add_argument(
        "--gpus",
        type=number(0, "a number of 0 or more"),
        default=None,
        help="GPUs of each replica (default: 1 where there is a GPU, else 0)",
    )
    parser.add_argument(
        "--concurrent",
        type=count,
        default=0,
        help="commands that a replica accepts at a time; 0: 4 on a GPU, 8 on a CPU, where it computes them one by one",
    )
    parser.add_argument(
        "--queue", type=whole_number, default=64, help="commands that may wait; more are refused (default: %(default)s)"
    )
    parser.add_argument(
        "--frames", type=whole_number, default=32, help="encoded images that a replica keeps (default: %(default)s)"
    )
    parser.add_argument(
        "--requests-per-minute",
        type=number(0, "a number of 0 or more"),
        default=0.0,
        help="quota of each robot; 0: no limit (default: 0)",
    )
    parser.add_argument(
        "--robot-concurrent",
        type=whole_number,
        default=8,
        help="commands of a robot at a time; more are refused (default: %(default)s)",
    )
    parser.add_argument(
        "--log-format", choices=("text", "json"), default="text", help="format of Serve's log files (default: text)"
    )
    parser.add_argument(
        "--traces",
        type=number(0, "a share, 0 to 1", most=1),
        default=0.0,
        metavar="SHARE",
        help="share of the commands that get OpenTelemetry spans, 0 to 1 (default: 0)",
    )
    parser.add_argument(
        "--metrics-port",
        type=tcp_port(0),
        default=0,
        help="port of the metrics for Prometheus; 0: any free one (default: 0)",
    )
    parser.add_argument(
        "--cluster", default="", metavar="ADDRESS", help="address of a Ray cluster (default: this machine alone)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serves until Ctrl-C; returns the exit status."""
    _check(options)
    try:
        from lisa_ros.fleet import application
    except ModuleNotFoundError as error:
        raise LisaError(f"serving needs Ray; {how_to_install('fleet')} ({error})") from error
    at = application.Listening(
        options.host,
        options.port,
        f"/{options.name}",
        tls_cert=str(options.tls_cert or ""),
        tls_key=str(options.tls_key or ""),
        log_format=options.log_format,
        traces=options.traces,
        metrics_port=options.metrics_port,
    )
    application.start(_settings(options), at, options.cluster)
    scheme = "lisas" if options.tls_cert else "lisa"
    print(f"Robots ask {scheme}://{options.host}:{options.port}/{options.name}; Ctrl-C ends the server.", flush=True)
    application.wait()
    return 0


def _settings(options: argparse.Namespace) -> Any:
    from lisa_ros.fleet.application import ServerSettings

    load = load_options(options)
    return ServerSettings(
        checkpoint=str(options.checkpoint),
        load=load if load.threads is not None else dataclasses.replace(load, threads=1),
        replicas=options.replicas,
        most_replicas=options.most_replicas,
        gpus=_gpus(options.device) if options.gpus is None else options.gpus,
        concurrent=options.concurrent,
        queue=options.queue,
        frames=options.frames,
        tokens=str(options.tokens or ""),
        requests_per_minute=options.requests_per_minute,
        robot_concurrent=options.robot_concurrent,
    )


def _gpus(device: str) -> float:
    import torch

    return 1.0 if device != "cpu" and torch.cuda.is_available() else 0.0


def _check(options: argparse.Namespace) -> None:
    """Raises a LisaError about what cannot be served."""
    if not options.name.replace("-", "").replace("_", "").isalnum():
        raise LisaError(f"--name {options.name!r}: a name has letters, digits, - and _")
    if (options.tls_cert is None) != (options.tls_key is None):
        raise LisaError("--tls-cert and --tls-key go together")
    for path in (options.tokens, options.tls_cert, options.tls_key):
        if path is not None and not path.is_file():
            raise LisaError(f"there is no file {path}")
    if options.host not in _LOOPBACK and options.tokens is None:
        example = f"robot1 {secrets.token_urlsafe(24)}"
        raise LisaError(
            f"--host {options.host} lets other machines ask: --tokens FILE says who may. Its lines are `ROBOT TOKEN`, "
            f"for example: {example}"
        )
    if options.tokens is not None and options.tls_cert is None and options.host not in _LOOPBACK:
        print("WARN: without --tls-cert, tokens and images cross the network in clear text.", file=sys.stderr)
