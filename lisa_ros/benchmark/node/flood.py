# SPDX-License-Identifier: Apache-2.0
"""Many operators send many commands at once."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from lisa_ros.benchmark.node.asking import Asker, TimedAnswer
from lisa_ros.demo.failure import DemoError

# Longer than the node's outbox waits for anybody: a second answer would have come by then.
_UNTIL_QUIET_S = 6.0


@dataclass(frozen=True)
class Flood:
    """The result of a flood.

    All commands of the first operator are sent, then all of the second, and so on, as fast as they can be: in order
    of arrival, the last operator's first command would be answered after all commands of the others. A command's wait
    is from just before its publishing to its Segmentation's arrival, and includes its own model time.

    Attributes:
        sent: commands.
        answers: to them.
        twice: second answers to a command.
        refused: answers without the model: REJECTED, NO_IMAGE, CANCELLED, FAILED.
        seconds: from the first command to the last answer.
        mean_wait_s: of all commands.
        longest_wait_s: of all commands.
        longest_mean_ratio: the longest mean wait of an operator, over the mean wait of all. 1: all wait equally long.
        longest_last_ratio: the longest wait of an operator's longest-waiting command, over the mean of those of all
            operators. 1: all are done at the same time.
        longest_command_ratio: the longest wait of a single command, over the mean wait of all. In a flood that is
            answered at an even pace it is 2, whoever is served first: the last command waits for all others.
        first_answer_spread_s: from the first operator's first answer to the last operator's first.
    """

    sent: int
    answers: int
    twice: int
    refused: int
    seconds: float
    mean_wait_s: float
    longest_wait_s: float
    longest_mean_ratio: float
    longest_last_ratio: float
    longest_command_ratio: float
    first_answer_spread_s: float


def measure_flood(asker: Asker, operators: int, commands: int, texts: Sequence[str], timeout_s: float) -> Flood:
    """Sends operators x commands, and counts the answers.

    Raises:
        DemoError: no answer came for timeout_s, though some were missing.
    """
    before = len(asker.answers)
    sent = [
        asker.send(number, f"operator_{number + 1}", texts[(number + turn) % len(texts)])
        for number in range(operators)
        for turn in range(commands)
    ]
    _wait_for(asker, before, set(sent), timeout_s)
    asker.pause(_UNTIL_QUIET_S)
    return summarize(sent, asker.answers[before:])


def _wait_for(asker: Asker, before: int, wanted: set[str], timeout_s: float) -> None:
    """Waits until each has an answer, or none has come for timeout_s."""
    while True:
        known = len(asker.answers)
        if wanted <= {answer.id for answer in asker.answers[before:]}:
            return
        if not asker.wait(lambda known=known: len(asker.answers) > known, timeout_s):  # type: ignore[misc]
            raise DemoError(f"Of {len(wanted)} commands {known - before} were answered, then none in {timeout_s:g} s.")
        time.sleep(0.05)  # many come at once


def summarize(sent: Sequence[str], answers: Sequence[TimedAnswer]) -> Flood:
    """The figures of a flood; `sent` are the commands' ids."""
    counted = Counter(answer.id for answer in answers)
    waits: Mapping[str, list[float]] = defaultdict(list)
    for answer in answers:
        waits[answer.operator].append(answer.came_s - answer.sent_s)
    every = [wait for some in waits.values() for wait in some]
    firsts = _first_answers(answers)
    return Flood(
        sent=len(sent),
        answers=sum(identity in counted for identity in sent),
        twice=sum(counted.values()) - len(counted),
        refused=sum(not answer.answered for answer in answers),
        seconds=max(answer.came_s for answer in answers) - min(answer.sent_s for answer in answers),
        mean_wait_s=fmean(every),
        longest_wait_s=max(every),
        longest_mean_ratio=max(map(fmean, waits.values())) / fmean(every),
        longest_last_ratio=max(map(max, waits.values())) / fmean(map(max, waits.values())),
        longest_command_ratio=max(every) / fmean(every),
        first_answer_spread_s=max(firsts) - min(firsts),
    )


def _first_answers(answers: Iterable[TimedAnswer]) -> list[float]:
    """When each operator's first answer came."""
    firsts: dict[str, float] = {}
    for answer in answers:
        firsts[answer.operator] = min(answer.came_s, firsts.get(answer.operator, answer.came_s))
    return list(firsts.values())
