# SPDX-License-Identifier: Apache-2.0
"""An arm on the simulated table takes what is asked for: `make pick`, or `python -m lisa_ros.demo.pick`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import rclpy
from rclpy.signals import SignalHandlerOptions
from tqdm import tqdm

from lisa_ros.client import LisaClient
from lisa_ros.demo.failure import DemoError
from lisa_ros.demo.pick import report
from lisa_ros.demo.pick.film import Film
from lisa_ros.demo.pick.robot import Robot
from lisa_ros.demo.pick.trial import Trial, act, ask, question_for
from lisa_ros.demo.processes import isolate, node_command, running, share_memory
from lisa_ros.segmentation.files.arguments import at_least
from lisa_ros.simulation.depth_camera import KINDS
from lisa_ros.simulation.manipulation.arm import OPENING_M
from lisa_ros.tabletop.questions.question import Question

_NAMESPACE = "/pick"
_MOST_EMPTY = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask, take, and print what came of it.

    Returns:
        0; 1 when the node gave no answers; 130 when it was interrupted. SIGTERM and SIGHUP exit with 143.
    """
    options = _parser().parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup(1) makes a program ignore SIGHUP
            signal.signal(number, lambda *_: sys.exit(143))  # so that the node is ended, too
    isolate()
    share_memory()
    options.output.mkdir(parents=True, exist_ok=True)
    film = _film(options.gif)
    lisa = {
        "dialogue_file": json.dumps(""),
        "gripper_opening": OPENING_M,
        "gripper_clearance": 0.003,
        "checkpoint": json.dumps(str(options.checkpoint.expanduser().resolve()) if options.checkpoint else ""),
    }
    try:
        with running({"lisa_node": node_command("lisa_node", _NAMESPACE, lisa)}, options.output) as (node,):
            trials = _trials(options, film, node.check)
        report.save(options.output / "pick.json", trials)
        if film is not None and trials:
            film.save(options.gif)
    except (DemoError, OSError) as error:
        print(f"pick: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("pick: interrupted", file=sys.stderr)
        return 130
    print(f"\n{report.report(trials)}\n\nNumbers: {options.output / 'pick.json'}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lisa_ros.demo.pick", description=__doc__)
    parser.add_argument("text", nargs="?", help="the command; left out: a question of the table's families per scene")
    parser.add_argument("--scenes", type=at_least(1), default=5, help="number of scenes (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1000, help="of the first scene (default: %(default)s)")
    parser.add_argument("--depth", choices=list(KINDS), default="10 % holes", help="the camera (default: 10 %% holes)")
    parser.add_argument("--checkpoint", type=Path, help="folder of a checkpoint (default: the package's own)")
    parser.add_argument("--gif", type=_gif, help="also write a film of the scenes here")
    parser.add_argument("--output", type=Path, default=Path("output/pick"), help="folder (default: %(default)s)")
    parser.add_argument("--timeout", type=float, default=120.0, help="longest wait for the node, s (%(default)g)")
    return parser


def _gif(text: str) -> Path:
    file = Path(text)
    if file.suffix.lower() != ".gif":
        raise argparse.ArgumentTypeError(f"{text!r} must end in .gif")
    return file


def _film(file: Path | None) -> Film | None:
    if file is None:
        return None
    file.parent.mkdir(parents=True, exist_ok=True)
    return Film()


def _trials(options: argparse.Namespace, film: Film | None, check: Callable[[], None]) -> list[Trial]:
    trials: list[Trial] = []
    with _robot(options, film) as robot, LisaClient(f"{_NAMESPACE}/lisa") as client:
        if not client.wait_until_ready(options.timeout):
            check()
            raise DemoError(f"lisa_node was not ready in {options.timeout:g} s; --timeout sets a longer wait")
        progress = tqdm(total=options.scenes, unit="scene", disable=None)
        for number in range(options.scenes + _MOST_EMPTY):
            check()
            if number:
                robot.next_scene()
            question = None if options.text else question_for(robot, options.seed + number)
            text = options.text or (question.text if question else "")
            if text:
                trials.append(_trial(client, robot, film, options.timeout, text, question))
                progress.write(f"{trials[-1].outcome}: {text}", file=sys.stdout)
                progress.update()
            if len(trials) == options.scenes:
                break
        progress.close()
    return trials


def _trial(
    client: LisaClient, robot: Robot, film: Film | None, timeout_s: float, text: str, question: Question | None
) -> Trial:
    if film is not None:
        film.asked(text)
    result = ask(client, robot, text, timeout_s)
    if film is not None:
        film.answered(text, result)
    trial = act(robot, question, text, result)
    if film is not None:
        film.end_scene()
    return trial


@contextmanager
def _robot(options: argparse.Namespace, film: Film | None) -> Iterator[Robot]:
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("robot", namespace=_NAMESPACE)
    robot = Robot(node, options.seed, (640, 480), options.depth, film.step if film else lambda: None)
    if film is not None:
        film.robot = robot
    try:
        yield robot
    finally:
        robot.close()
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())
