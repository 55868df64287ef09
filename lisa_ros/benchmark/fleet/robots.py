# SPDX-License-Identifier: Apache-2.0
"""Robots that ask a model: one after the other, and many at once."""

from __future__ import annotations

import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from lisa_ros.evaluation.metrics import overlap
from lisa_ros.fleet.remote_segmenter import RemoteImage, RemoteSegmenter, RemoteSettings
from lisa_ros.fleet.requests import frame_id
from lisa_ros.segmentation.answers import Event, Finished, MaskFound, TextDelta
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.interface import EncodedImage, Segmenter
from lisa_ros.segmentation.turns import Turn

COMMANDS = ("the red mug", "something to drink from", "all the cubes", "the blue ball")
Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Timed:
    """One answer.

    Attributes:
        finished: The answer.
        first_s: Seconds to the first event: the first mask, or the first text where no object is named.
        whole_s: Seconds to the whole answer.
        is_whole: The answer ended once, and its text and masks came once each.
    """

    finished: Finished
    first_s: float
    whole_s: float
    is_whole: bool = True


def ask(segmenter: Segmenter, encoded: EncodedImage, text: str, turns: Sequence[Turn] = ()) -> Timed:
    """Ask one command."""
    began_s, times, events = time.perf_counter(), [], []
    for event in segmenter.session(encoded, turns).segment(text):
        times.append(time.perf_counter() - began_s)
        events.append(event)
    finished, *more = [event for event in events if isinstance(event, Finished)]
    return Timed(finished, times[0], times[-1], not more and _is_whole(events, finished))


def _is_whole(events: Sequence[Event], finished: Finished) -> bool:
    """Whether the parts make up the answer. The end of an answer may change white space in it."""
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    masks = sum(isinstance(event, MaskFound) for event in events)
    return "".join(text.split()) == "".join(finished.answer.split()) and masks == len(finished.objects)


def same(one: Finished, other: Finished) -> bool:
    """Whether two answers are equal to the last bit: text, masks and scores."""
    return (
        one.answer == other.answer
        and [found.score for found in one.objects] == [found.score for found in other.objects]
        and all(np.array_equal(a.mask, b.mask) for a, b in zip(one.objects, other.objects, strict=True))
    )


def alike(one: Finished, other: Finished) -> bool:
    """Whether two answers have the same text and nearly the same masks: shared steps are rounded differently."""
    return (
        one.answer == other.answer
        and len(one.objects) == len(other.objects)
        and all(
            overlap(a.mask, b.mask.astype(np.uint8)).iou > 0.99 for a, b in zip(one.objects, other.objects, strict=True)
        )
    )


def one_robot(remote: RemoteSegmenter, local: Segmenter, images: Sequence[Image]) -> dict[str, float]:
    """A remote and a local model, asked in turn about the same images.

    Returns:
        Medians in milliseconds of the first event about a new and about a known image, and the share of equal answers.
    """
    times: dict[str, list[float]] = {}
    equal = 0
    asked = 0
    for image in tqdm(images, desc="one robot", unit="image"):
        encoded = [(name, model, model.encode(image)) for name, model in (("remote", remote), ("local", local))]
        for number, text in enumerate(COMMANDS):
            found = {name: ask(model, known, text) for name, model, known in encoded}
            for name, answer in found.items():
                kind = "known image" if number else "new image"
                times.setdefault(f"first event, {kind}, {name}, ms", []).append(1000 * answer.first_s)
            equal += same(found["remote"].finished, found["local"].finished)
            asked += 1
    return {**{name: median(values) for name, values in times.items()}, "equal answers, share": equal / asked}


@dataclass
class Fleet:
    """What many robots saw.

    Attributes:
        new_s, known_s: Seconds to each whole answer about a new and about a known image.
        wrong: Answers that differ from the expected ones, came twice or failed.
        seconds: From the first command to the last answer.
    """

    new_s: list[float] = field(default_factory=list)
    known_s: list[float] = field(default_factory=list)
    wrong: int = 0
    seconds: float = 0.0

    @classmethod
    def of(cls, rounds: Iterable[Fleet]) -> Fleet:
        """What was seen in several rounds, each of which began when the one before had ended."""
        whole = cls()
        for one in rounds:
            whole.new_s += one.new_s
            whole.known_s += one.known_s
            whole.wrong += one.wrong
            whole.seconds += one.seconds
        return whole

    @property
    def commands(self) -> int:
        """Answered rightly or not."""
        return len(self.new_s) + len(self.known_s) + self.wrong

    @property
    def measured(self) -> dict[str, Any]:
        """All times, as JSON."""
        new_ms, known_ms = ([round(1000 * one, 1) for one in times] for times in (self.new_s, self.known_s))
        return {"seconds": round(self.seconds, 2), "new_ms": new_ms, "known_ms": known_ms}

    @property
    def figures(self) -> dict[str, float]:
        """Percentiles and throughput."""
        figures: dict[str, float] = {"commands": self.commands, "wrong, lost or doubled": self.wrong}
        for kind, seconds in (("new image", self.new_s), ("known image", self.known_s)):
            p50, p95 = np.percentile(seconds, [50, 95]) if seconds else (float("nan"),) * 2
            figures[f"{kind}, whole answer, p50, ms"] = 1000 * p50
            figures[f"{kind}, whole answer, p95, ms"] = 1000 * p95
            figures[f"{kind}, p95 / p50"] = p95 / p50
        return figures | {"commands/s": (self.commands - self.wrong) / self.seconds}


def _as_new(encoded: RemoteImage, name: str) -> RemoteImage:
    """The same pixels as an image that the server has not seen: bytes behind the end of a PNG file change its name."""
    encoded.data += name.encode()
    encoded.frame = frame_id(encoded.data)
    return encoded


def _one_robot(
    server: str, images: Sequence[Image], expected: Sequence[Sequence[Finished]], number: int, commands: int
) -> Iterator[tuple[bool, float | None]]:
    """For each command of a robot: whether its image was known, and the time of the answer; None: it was not right."""
    remote = RemoteSegmenter(server, RemoteSettings(jpeg_quality=0, timeout_s=60.0))
    encoded, run = None, secrets.token_hex(4)
    for count in range(commands):
        place, text = (number + count // len(COMMANDS)) % len(images), count % len(COMMANDS)
        if not text or encoded is None:
            encoded = _as_new(remote.encode(images[place]), f"{run}/{count}")
        try:
            answer = ask(remote, encoded, COMMANDS[text])
            right = answer.is_whole and alike(answer.finished, expected[place][text])
            yield bool(text), answer.whole_s if right else None
        except Exception as error:  # the robot continues; the table has the number of wrong answers
            tqdm.write(f"robot {number}: {type(error).__name__}: {error}")
            yield bool(text), None
    remote.release()


def many_robots(
    server: str,
    images: Sequence[Image],
    expected: Sequence[Sequence[Finished]],
    robots: int,
    commands: int,
) -> Fleet:
    """Robots that each send a command when the one before is answered.

    Args:
        server: Its address.
        images: What the robots see; each robot sees each image in turn, as a new one, and asks all commands about it.
        expected: The right answers by image and command.
        robots: Number of robots.
        commands: Of each robot.
    """
    fleet, lock = Fleet(), threading.Lock()
    bar = tqdm(total=robots * commands, desc=f"{robots} robots", unit="command")

    def run(number: int) -> None:
        for is_known, whole_s in _one_robot(server, images, expected, number, commands):
            with lock:
                if whole_s is None:
                    fleet.wrong += 1
                else:
                    (fleet.known_s if is_known else fleet.new_s).append(whole_s)
                bar.update()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(robots)]
    began_s = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    fleet.seconds = time.perf_counter() - began_s
    bar.close()
    return fleet


def local_processes(count: int, commands: int, images: Path, checkpoint: Path | None) -> float:
    """Throughput of processes with a model each, that ask the same commands; commands/s of all together.

    Raises:
        LisaError: one of them failed, so that the others had its share of the cores.
    """
    command = [sys.executable, "-m", "lisa_ros.benchmark.fleet.local_process", str(images), str(commands)]
    command += [str(checkpoint)] if checkpoint else []
    running = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(count)]
    try:
        for one in running:  # each says when its model is loaded
            assert one.stdout is not None
            one.stdout.readline()
        began_s = time.perf_counter()
        for one in running:
            assert one.stdin is not None
            one.stdin.write(b"go\n")
            one.stdin.close()
        if failed := [status for one in running if (status := one.wait())]:
            raise LisaError(f"{len(failed)} of {count} local processes failed (exit status {failed[0]})")
        return count * commands / (time.perf_counter() - began_s)
    finally:
        for one in running:
            one.kill()
