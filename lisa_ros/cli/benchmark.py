# SPDX-License-Identifier: Apache-2.0
"""`lisa benchmark`: measures how fast a model, or the node, answers."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from lisa_ros.benchmark.options import AGAINST, NODE_PARTS, SHAPES, BenchmarkOptions, NodeBenchmarkOptions
from lisa_ros.cli.options import add_model_options, load_options, whole_number


def add(commands: Any) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser("benchmark", help="measure how fast a model, or the node, answers")
    parser.add_argument(
        "what",
        choices=("model", "node"),
        nargs="?",
        default="model",
        help="node: lisa_node over ROS 2 (default: model)",
    )
    parser.add_argument("--parts", choices=NODE_PARTS, nargs="+", default=NODE_PARTS, help="of the node (default: all)")
    parser.add_argument("--shape", choices=SHAPES, default="embedded", help="(default: %(default)s)")
    parser.add_argument("--against", choices=AGAINST, help="also compute that way, and print the ratios")
    parser.add_argument("--repeats", type=whole_number, default=3, help="rounds; medians are reported (default: 3)")
    parser.add_argument("--tokens", type=_tokens, default=64, help="of the answer that is timed (default: 64)")
    parser.add_argument("--memory-cap-gib", type=float, help="GPU memory that may be used")
    parser.add_argument("--output", type=Path, help="(default: benchmark.json, of the node benchmark_node.json)")
    add_model_options(parser)
    parser.set_defaults(run=run, checkpoint=None)


def _tokens(text: str) -> int:
    if not text.isdecimal() or int(text) < 4:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 4 or more")
    return int(text)


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit status."""
    if options.what == "node":
        return _run_node(options)
    from lisa_ros.benchmark.run import run_benchmark

    run_benchmark(
        BenchmarkOptions(
            shape=options.shape,
            checkpoint=options.checkpoint,
            load=load_options(options),
            repeats=options.repeats,
            against=options.against,
            tokens=options.tokens,
            output=options.output or Path("benchmark.json"),
            memory_cap_gib=options.memory_cap_gib,
        )
    )
    return 0


def _run_node(options: argparse.Namespace) -> int:
    try:
        from lisa_ros.benchmark.node.run import DemoError, run_node_benchmark
    except ModuleNotFoundError as error:
        raise ValueError(f"to measure the node, ROS 2 must be sourced and the package built ({error})") from error
    asked = NodeBenchmarkOptions(
        parts=tuple(options.parts),
        checkpoint=options.checkpoint,
        load=load_options(options),
    )
    try:
        run_node_benchmark(asked if options.output is None else replace(asked, output=options.output))
    except DemoError as error:
        raise ValueError(str(error)) from error
    return 0
