# SPDX-License-Identifier: Apache-2.0
"""`lisa benchmark`: measures how fast a model, or the node, answers, and what the console costs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lisa_ros.benchmark.options import AGAINST, NODE_PARTS, SHAPES, BenchmarkOptions, NodeBenchmarkOptions
from lisa_ros.cli.options import add_load_options, load_options, whole_number
from lisa_ros.cli.parsing import CommandParser, with_value, without
from lisa_ros.segmentation.errors import LisaError, how_to_install
from lisa_ros.segmentation.files.arguments import at_least, number
from lisa_ros.segmentation.files.stop_signals import cleaning_up_after_sigterm

_LOADS = with_value("what", "model", "node", text="to `lisa benchmark model` and `node`", positional=True)
_CHECKPOINT = with_value(
    "what", "model", "node", "fleet", text="to `lisa benchmark model`, `node` and `fleet`", positional=True
)
_MODEL = with_value("what", "model", text="to `lisa benchmark model`", positional=True)


def add(commands: Any) -> None:
    """Adds the subcommand."""
    parser: CommandParser = commands.add_parser("benchmark", help="measure how fast a model, or the node, answers")
    add_load_options(parser)
    parser.restrict(_LOADS, unless=())
    parser.add_argument(
        "what",
        choices=("model", "node", "fleet", "console"),
        nargs="?",
        default="model",
        help="node: lisa_node; fleet: `lisa serve` and robots; console: eight pages in browsers (default: model)",
    )
    parser.add_argument(
        "--parts",
        choices=NODE_PARTS,
        nargs="+",
        default=NODE_PARTS,
        applies=with_value("what", "node", text="to `lisa benchmark node`", positional=True),
        help="measurements of the node to make (default: all)",
    )
    parser.add_argument(
        "--shape",
        choices=SHAPES,
        default="embedded",
        applies=(_MODEL, without("checkpoint")),
        help="sizes of a model with random weights, or the embedded model (default: %(default)s)",
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FOLDER|ID",
        applies=_CHECKPOINT,
        help="LISA checkpoint to measure instead of a shape",
    )
    parser.add_argument(
        "--against", choices=AGAINST, applies=_MODEL, help="also compute as the public code does, and print the ratios"
    )
    parser.add_argument(
        "--repeats", type=whole_number, default=3, applies=_MODEL, help="rounds; medians are reported (default: 3)"
    )
    parser.add_argument(
        "--tokens", type=at_least(4), default=64, applies=_MODEL, help="length of the timed answer (default: 64)"
    )
    parser.add_argument(
        "--memory-cap-gib",
        type=number(0, "a number of GiB above 0", above=True),
        applies=_MODEL,
        help="GPU memory that may be used, GiB",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("output/benchmark"),
        metavar="FOLDER",
        help="folder for benchmark.json and stages.png, or benchmark_node.json (default: %(default)s)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit status."""
    with cleaning_up_after_sigterm("lisa benchmark: stopped"):  # else a server and nodes would run on
        return _run(options)


def _run(options: argparse.Namespace) -> int:
    if options.what == "node":
        return _run_node(options)
    if options.what == "fleet":
        return _run_fleet(options)
    if options.what == "console":
        return _run_console(options)
    from lisa_ros.benchmark.run import run_benchmark

    run_benchmark(
        BenchmarkOptions(
            shape=options.shape,
            checkpoint=options.checkpoint,
            load=load_options(options),
            repeats=options.repeats,
            against=options.against,
            tokens=options.tokens,
            output=options.output,
            memory_cap_gib=options.memory_cap_gib,
        )
    )
    return 0


def _run_node(options: argparse.Namespace) -> int:
    try:
        from lisa_ros.benchmark.node.run import DemoError, run_node_benchmark
    except ModuleNotFoundError as error:
        raise LisaError(f"to measure the node, ROS 2 must be sourced and the package built ({error})") from error
    wanted = NodeBenchmarkOptions(
        parts=tuple(options.parts), checkpoint=options.checkpoint, load=load_options(options), output=options.output
    )
    try:
        run_node_benchmark(wanted)
    except DemoError as error:
        raise LisaError(str(error)) from error
    return 0


def _run_console(options: argparse.Namespace) -> int:
    try:
        from lisa_ros.benchmark.console.run import ConsoleBenchmarkOptions, DemoError, run_console_benchmark
    except ModuleNotFoundError as error:
        raise LisaError(f"to measure the console, ROS 2 must be sourced and the package built ({error})") from error
    try:
        run_console_benchmark(ConsoleBenchmarkOptions(output=options.output))
    except DemoError as error:
        raise LisaError(str(error)) from error
    return 0


def _run_fleet(options: argparse.Namespace) -> int:
    try:
        from lisa_ros.benchmark.fleet.run import FleetBenchmarkOptions, run_fleet_benchmark
    except ModuleNotFoundError as error:
        raise LisaError(f"to measure a fleet, {how_to_install('fleet', 'sim')} ({error})") from error
    run_fleet_benchmark(FleetBenchmarkOptions(checkpoint=options.checkpoint, output=options.output))
    return 0
