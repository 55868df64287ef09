# SPDX-License-Identifier: Apache-2.0
"""A long run of everything together: `soak.py [--minutes N] [--output FOLDER]` (make soak).

lisa_node with the embedded model, tracking, a simulated camera whose scene changes, four operators, the console with
two pages in Chromium, and a recorder of all outputs. Prints a line a minute; at the end the slopes of memory, files and
threads, the times of answers and whether the bars hold. The exit code is 1 where one does not.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import rclpy
from console_page import Operator, address_of, chromium, console_command
from paths import ROOT
from rclpy.qos import HistoryPolicy, QoSProfile
from ros_harness import Process, started, talking_node, wait_until
from usage import Sample, Trend, plot, sample, trend

from lisa_ros.demo.processes import isolate, node_command, share_memory
from lisa_ros.msg import Command, Segmentation

OPERATORS = ("ann", "ben", "carl", "dora")
TEXTS = ("the red mug", "something to drink from", "the blue object", "what can I play with?", "the largest object")
SAMPLE_S = 5.0
PAUSE_S = (1.0, 4.0)
"""Of an operator between an answer and the next command."""
WATCHED = ("node", "console")


@dataclass
class Commands:
    """The operators: each sends the next command some time after the answer to the last one."""

    node: rclpy.node.Node
    sent_s: dict[str, float] = field(default_factory=dict)
    answers: dict[str, list[float]] = field(default_factory=dict)
    """Id of a command -> when its answers came."""
    statuses: dict[int, int] = field(default_factory=dict)
    seconds: list[tuple[float, float]] = field(default_factory=list)
    """When an answer came and how long it took."""

    def __post_init__(self) -> None:
        qos = QoSProfile(history=HistoryPolicy.KEEP_ALL)
        self._publisher = self.node.create_publisher(Command, "/lisa/command", qos)
        self.node.create_subscription(Segmentation, "/lisa/segmentation", self._on_answer, qos)
        self._random = random.Random(1)
        self._next_s = dict.fromkeys(OPERATORS, 0.0)
        self._waits: dict[str, str] = {}

    def wait_for_node(self, process: Process) -> None:
        wait_until(lambda: not process.alive or self._publisher.get_subscription_count(), "the node", 180)
        assert process.alive, process.output

    def send(self) -> None:
        """Sends what is due."""
        for operator in OPERATORS:
            waits = self._waits.get(operator)
            if waits in self.answers:
                self._waits.pop(operator)
                self._next_s[operator] = time.monotonic() + self._random.uniform(*PAUSE_S)
            elif waits is None and time.monotonic() >= self._next_s[operator]:
                identity = f"{operator}-{len(self.sent_s)}"
                self._waits[operator], self.sent_s[identity] = identity, time.monotonic()
                text = self._random.choice(TEXTS)
                self._publisher.publish(Command(id=identity, operator_id=operator, text=text))

    def p95(self, begin_s: float, end_s: float) -> float:
        """95th percentile of the times of answers that came then, seconds; NaN: none came."""
        taken = [taken for came, taken in self.seconds if begin_s <= came < end_s]
        return float(np.percentile(taken, 95)) if taken else float("nan")

    def _on_answer(self, answer: Segmentation) -> None:
        now_s = time.monotonic()
        self.answers.setdefault(answer.id, []).append(now_s)
        self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
        if answer.id in self.sent_s:
            self.seconds.append((now_s, now_s - self.sent_s[answer.id]))


@dataclass
class System:
    """What runs."""

    processes: dict[str, Process]
    commands: Commands
    pages: list[Operator]


@contextmanager
def running(folder: Path) -> Iterator[System]:
    """Starts everything; ends it afterwards."""
    lisa = {"dialogue_file": folder / "dialogues.sqlite", "cache_mib": 64, "max_new_tokens": 64, "device": "cpu"}
    camera = {"width": 320, "height": 240, "rearrange_period_s": 7.0}
    with ExitStack() as stack:
        node = stack.enter_context(talking_node("operators"))
        processes = {
            "camera": stack.enter_context(started(node_command("sim_camera", "/", camera))),
            "node": stack.enter_context(started(node_command("lisa_node", "/", lisa))),
            "console": stack.enter_context(started(console_command())),
        }
        commands = Commands(node)
        commands.wait_for_node(processes["node"])
        recorder = [sys.executable, str(Path(__file__).with_name("recorder.py")), "lisa", str(folder / "bag")]
        processes["recorder"] = stack.enter_context(started(recorder))
        browser = stack.enter_context(chromium())
        pages = [Operator(browser, address_of(processes["console"]), name) for name in OPERATORS[:2]]
        for page in pages:
            page.wait_for_camera()
        yield System(processes, commands, pages)


@dataclass
class Record:
    """What was measured."""

    began_s: float
    samples: dict[str, list[Sample]] = field(default_factory=lambda: {name: [] for name in WATCHED})

    def take(self, system: System) -> None:
        minutes = (time.monotonic() - self.began_s) / 60
        for name in WATCHED:
            self.samples[name].append(sample(system.processes[name].pid, minutes))

    def line(self, system: System) -> str:
        """One minute of progress."""
        now_s = time.monotonic()
        p95 = system.commands.p95(now_s - 60, now_s)
        usage = "; ".join(
            f"{name} {one.memory_mib:.0f} MiB, {one.files} files, {one.threads} threads"
            for name in WATCHED
            for one in self.samples[name][-1:]
        )
        return (
            f"{(now_s - self.began_s) / 60:5.1f} min: {len(system.commands.answers)} answers, p95 {p95:.2f} s; {usage}"
        )


def observe(system: System, minutes: float) -> Record:
    """Lets everything run, and measures."""
    record = Record(time.monotonic())
    next_sample_s, next_line_s = record.began_s, record.began_s + 60
    while (now_s := time.monotonic()) < record.began_s + 60 * minutes:
        for name, process in system.processes.items():
            assert process.alive, f"{name} has ended: {process.output[-2000:]}"
        system.commands.send()
        if now_s >= next_sample_s:
            record.take(system)
            next_sample_s += SAMPLE_S
        if now_s >= next_line_s:
            print(record.line(system), flush=True)
            next_line_s += 60
        system.pages[0].page.wait_for_timeout(50)  # the browser's events are handled while it waits
    return record


def lost(commands: Commands) -> list[str]:
    """Commands without exactly one answer, once the last ones have had time to come."""
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s and set(commands.sent_s) - set(commands.answers):
        time.sleep(0.1)
    return [one for one in commands.sent_s if len(commands.answers.get(one, ())) != 1]


def bars(record: Record, system: System, minutes: float, missing: list[str]) -> dict[str, tuple[bool, str]]:
    """Each bar: whether it holds, and the figures."""
    warm_up = min(5.0, minutes / 3)
    trends = {name: trend(record.samples[name], warm_up) for name in WATCHED}
    found: dict[str, tuple[bool, str]] = {}
    for name, one in trends.items():
        found |= _bars_of(name, one, minutes)
    window_s, end_s = 60 * warm_up, record.began_s + 60 * minutes
    first, last = (system.commands.p95(begin, begin + window_s) for begin in (record.began_s, end_s - window_s))
    found["p95 of the last by that of the first minutes <= 1.2"] = (
        last <= 1.2 * first,
        f"{last / first:.2f} ({first:.2f} s, {last:.2f} s; {warm_up:.1f} min each)",
    )
    sent = len(system.commands.sent_s)
    found["commands lost or answered twice: 0"] = (not missing, f"{len(missing)} of {sent}")
    return found


def _bars_of(name: str, one: Trend, minutes: float) -> dict[str, tuple[bool, str]]:
    # Of a short run the caches fill for a larger part.
    limit = 0.02 if minutes >= 10 else 0.08
    return {
        f"{name}: memory changes by at most {limit:.0%}": (
            abs(one.memory_change) <= limit,
            f"{one.memory_change:+.1%} ({one.memory_mib_per_hour:+.1f} MiB/h)",
        ),
        f"{name}: files do not grow": (
            one.files[1] - one.files[0] <= 2,
            f"{one.files[0]}-{one.files[1]} ({one.files_per_hour:+.1f}/h)",
        ),
        f"{name}: threads do not grow": (
            one.threads[1] - one.threads[0] <= 2,
            f"{one.threads[0]}-{one.threads[1]} ({one.threads_per_hour:+.1f}/h)",
        ),
    }


def write(record: Record, system: System, found: dict[str, tuple[bool, str]], output: Path) -> None:
    """Writes soak.json and soak.svg."""
    output.mkdir(parents=True, exist_ok=True)
    lines = {
        f"{name}: {title}": [(one.minutes, float(getattr(one, attribute))) for one in record.samples[name]]
        for name in WATCHED
        for title, attribute in (("memory, MiB", "memory_mib"), ("open files", "files"), ("threads", "threads"))
    }
    lines["time of an answer, s"] = [
        ((came - record.began_s) / 60, taken) for came, taken in system.commands.seconds if came >= record.began_s
    ]
    plot(lines, output / "soak.svg")
    report = {
        "samples": {name: [asdict(one) for one in record.samples[name]] for name in WATCHED},
        "answers_by_status": system.commands.statuses,
        "bars": {name: {"holds": holds, "figures": figures} for name, (holds, figures) in found.items()},
    }
    (output / "soak.json").write_text(json.dumps(report, indent=1) + "\n")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--output", type=Path, default=ROOT / "output" / "soak")
    options = parser.parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    isolate()
    share_memory()
    with tempfile.TemporaryDirectory(prefix="lisa_soak_") as folder, running(Path(folder)) as system:
        record = observe(system, options.minutes)
        missing = lost(system.commands)
        faults = [fault for page in system.pages for fault in page.faults]
        found = bars(record, system, options.minutes, missing)
        found["errors in the pages: 0"] = (not faults, f"{len(faults)} {faults[:1]}")
        system.processes["recorder"].end()
        print(system.processes["recorder"].output.splitlines()[-1])
        write(record, system, found, options.output)
    print(f"answers by status: {system.commands.statuses}; load of the machine {os.getloadavg()[0]:.1f}")
    for name, (holds, figures) in found.items():
        print(f"{'ok  ' if holds else 'MISS'} {name}: {figures}")
    return 0 if all(holds for holds, _ in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
