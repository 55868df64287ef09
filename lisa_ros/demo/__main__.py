# SPDX-License-Identifier: Apache-2.0
"""Starts the camera and the node, lets two operators ask, and shows the results."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lisa_ros.demo import report
from lisa_ros.demo.failure import DemoError
from lisa_ros.demo.operators import Operators, operators
from lisa_ros.demo.processes import isolate, node_command, running, share_memory
from lisa_ros.demo.scene import Scene
from lisa_ros.demo.script import LINES, SEED
from lisa_ros.nodes.common.starting import Stop
from lisa_ros.segmentation.files.arguments import seconds

_NAMESPACE = "/demo"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo.

    Returns:
        0 when every command was answered; 1 when one was not, or the demo could not go on; 130 when it was
        interrupted.
    """
    options = _parser().parse_args(arguments)
    # Only recorded, and checked during every wait: an exception at any moment could leave a process behind.
    interrupted = Stop()
    interrupted.at_signals(signal.SIGHUP)
    isolate()
    share_memory()
    try:
        return _run(options, interrupted)
    except (DemoError, OSError) as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndemo: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lisa_ros.demo", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, help="folder of a LISA checkpoint (default: the package's own)")
    parser.add_argument("--quantization", choices=("auto", "none", "8bit", "4bit"), default="auto")
    parser.add_argument("--seed", type=int, default=SEED, help="scene; it must fit the commands (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("output/demo"), help="folder (default: %(default)s)")
    # Images of over 512 kB do not fit into Fast DDS's shared memory, and over UDP some are lost on a busy machine.
    parser.add_argument("--width", type=int, default=320, help="of the images (default: %(default)s)")
    parser.add_argument("--height", type=int, default=240, help="of the images (default: %(default)s)")
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=120.0,
        help="longest wait for a node or an answer, seconds (default: %(default)g)",
    )
    return parser


def _run(options: argparse.Namespace, interrupted: Stop) -> int:
    options.output.mkdir(parents=True, exist_ok=True)
    with running(_commands(options), options.output) as children:

        def check() -> None:
            if interrupted.is_set():
                raise KeyboardInterrupt
            for child in children:
                child.check()

        rows = _talk(options, check)
    return _finish(rows, options)


def _talk(options: argparse.Namespace, check: Callable[[], None]) -> list[report.Row]:
    """Wait for both nodes, then ask."""
    with operators(_NAMESPACE, check) as people:
        with _progress("the camera"):
            scene = people.see(options.timeout)
        scene.check(LINES)
        with _progress("lisa_node, which loads its model"):
            people.wait_for_lisa(options.timeout)
        return _ask_all(people, scene, options)


def _commands(options: argparse.Namespace) -> dict[str, list[str]]:
    camera = {"seed": options.seed, "width": options.width, "height": options.height}
    lisa = {"quantization": options.quantization, "dialogue_file": json.dumps("")}
    if options.checkpoint is not None:
        # JSON is YAML: a path of any letters stays one text.
        lisa["checkpoint"] = json.dumps(str(options.checkpoint.expanduser().resolve()))
    return {
        "sim_camera": node_command("sim_camera", _NAMESPACE, camera),
        "lisa_node": node_command("lisa_node", _NAMESPACE, lisa),
    }


def _ask_all(people: Operators, scene: Scene, options: argparse.Namespace) -> list[report.Row]:
    """Each command after the answer to the one before, so that none waits in the queue; stops where no answer comes."""
    shape = scene.instances.shape
    rows: list[report.Row] = []
    images = []
    for number, line in enumerate(LINES, start=1):
        with _progress(f"{line.operator}: {line.text}"):
            answer = people.ask(line, options.timeout)
        row = report.row_of(number, line, answer, scene)
        masks = report.masks_of(answer, (shape[0], shape[1]))
        report.save_overlay(options.output, row, scene, masks)
        rows.append(row)
        images.append((row, masks))
        if row.status == report.MISSING:
            break
    report.save_sheet(options.output / "demo.png", scene, images)
    return rows


@contextmanager
def _progress(what: str) -> Iterator[None]:
    """Says what is waited for, and how long it took."""
    started = time.monotonic()
    print(f"{what} ... ", end="", flush=True)
    yield
    print(f"{time.monotonic() - started:.1f} s", flush=True)


def _finish(rows: Sequence[report.Row], options: argparse.Namespace) -> int:
    report.save_numbers(options.output / "demo.json", rows, _settings(options))
    print(f"\n{report.table(rows)}\n")
    print(f"Mean IoU of what is on the table: {report.mean_iou(rows):.2f}")
    print(f"Images: {options.output / 'demo.png'}, one per answer in {options.output}/; numbers: demo.json there")
    unanswered = [f"{row.operator}: {row.command!r} ({row.status}) {row.detail}" for row in rows if not row.answered]
    unanswered += [f"{line.operator}: {line.text!r} (not sent)" for line in LINES[len(rows) :]]
    if unanswered:
        print("\ndemo: not answered:\n  " + "\n  ".join(unanswered), file=sys.stderr)
    return 1 if unanswered else 0


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()}


if __name__ == "__main__":
    sys.exit(main())
