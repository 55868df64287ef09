# SPDX-License-Identifier: Apache-2.0
"""`lisa benchmark node` counts rightly; how fast this machine is, is not tested."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from lisa_ros.benchmark.node.added_time import Pair, summarise
from lisa_ros.benchmark.node.asking import TimedAnswer
from lisa_ros.benchmark.node.bars import bars, table
from lisa_ros.benchmark.node.flood import Flood, summarize
from lisa_ros.benchmark.node.processor import Meter, process_s, running_threads_s
from lisa_ros.benchmark.options import NODE_PARTS
from lisa_ros.msg import Segmentation
from lisa_ros.segmentation.masks import intersection_over_union as iou

pytestmark = pytest.mark.ros


def answer(
    operator: str, number: int, came_s: float, sent_s: float = 0.0, status: int = Segmentation.OK
) -> TimedAnswer:
    return TimedAnswer(f"{operator}-{number}", operator, status, "", 1, sent_s, came_s, 1.0, 1.0)


def flood_of(order: str) -> Flood:
    """Everything was sent at 0 and an answer came every second, in this order of operators."""
    answers = [answer(operator, number, number + 1.0) for number, operator in enumerate(order)]
    return summarize([answer.id for answer in answers], answers)


def test_a_flood_in_turns_is_fair() -> None:
    fair = flood_of("ab" * 50)
    assert (fair.sent, fair.answers, fair.twice, fair.refused, fair.seconds) == (100, 100, 0, 0, 100.0)
    assert fair.mean_wait_s == 50.5 and fair.longest_wait_s == 100.0
    assert fair.longest_mean_ratio == pytest.approx(51 / 50.5)
    assert fair.longest_last_ratio == pytest.approx(100 / 99.5)
    assert fair.longest_command_ratio == pytest.approx(100 / 50.5)
    assert fair.first_answer_spread_s == 1.0


def test_a_flood_one_after_the_other_is_less_fair() -> None:
    unfair = flood_of("a" * 50 + "b" * 50)
    assert unfair.longest_mean_ratio == pytest.approx(75.5 / 50.5)
    assert unfair.longest_last_ratio == pytest.approx(100 / 75)
    assert unfair.first_answer_spread_s == 50.0


def test_answers_that_are_missing_double_or_refused_are_counted() -> None:
    answers = [answer("a", 0, 1.0), answer("a", 0, 2.0), answer("b", 0, 3.0, status=Segmentation.REJECTED)]
    counted = summarize(["a-0", "a-1", "b-0"], answers)
    assert (counted.sent, counted.answers, counted.twice, counted.refused) == (3, 2, 1, 1)
    (answered, *_) = bars({"flood": asdict(counted)}, 30.0)
    assert not answered.held and answered.measured == "2 of 3, 1 twice, 1 refused"


def test_added_time_is_of_pairs() -> None:
    pairs = [Pair(wall=100.0 + n, model=90.0, queued=1.0, total=95.0, node_processor=97.0, model_processor=90.0,
                  answer=120.0)
             for n in range(20)]  # fmt: skip
    figures = summarise(pairs)
    assert (figures.pairs, figures.added, figures.added_p95) == (20, 19.5, 28.0)
    assert (figures.beside_the_model, figures.outside, figures.added_processor) == (5.0, 13.5, 7.0)
    assert figures.answer_added == 30.0
    (bar,) = bars({"added_time": asdict(figures)}, 30.0)
    assert not bar.held and "19.5 ms" in bar.measured


def test_idling_without_images_is_no_success() -> None:
    idling = {"node_percent": 3.0, "image_rate_hz": 26.0}
    assert not bars({"idling": idling}, 30.0)[0].held
    assert bars({"idling": idling | {"image_rate_hz": 29.0}}, 30.0)[0].held
    assert not bars({"idling": {"node_percent": 21.0, "image_rate_hz": 30.0}}, 30.0)[0].held


def test_a_dialogue_that_began_anew_is_no_success() -> None:
    figures = {"first_turn": 1, "next_turn": 1, "first_iou": 1.0, "next_iou": 1.0}
    assert not bars({"restarting": figures}, 30.0)[0].held
    assert bars({"restarting": figures | {"next_turn": 2}}, 30.0)[0].held
    assert "| no |" in table(bars({"restarting": figures}, 30.0))


def test_iou_by_hand() -> None:
    one = np.array([[True, True, False]])
    assert iou(one, np.array([[False, True, True]])) == pytest.approx(1 / 3)
    assert iou(one, one) == 1.0 and iou(one & False, one & False) == 1.0


def test_processor_time_is_that_of_the_process() -> None:
    code = "import time; print(flush=True); input(); end_s = time.process_time() + 0.3\n"
    code += "while time.process_time() < end_s: pass\nprint(flush=True)\ntime.sleep(600)"
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as child:
        assert child.stdin is not None and child.stdout is not None
        try:
            child.stdout.readline()
            meter, began_s = Meter(child.pid, time.monotonic()), time.monotonic()
            before_s = running_threads_s(child.pid)
            child.stdin.write(b"\n")
            child.stdin.flush()
            child.stdout.readline()
            now_s = time.monotonic()
            usage = meter.read(now_s)
            assert 0.15 < usage.process * (now_s - began_s) < 0.5
            assert 0.15 < running_threads_s(child.pid) - before_s < 0.5
            assert usage.machine >= 0.9 * usage.process
            assert usage.threads and sum(usage.threads.values()) == pytest.approx(usage.process, abs=0.2)
        finally:
            child.kill()
    assert process_s(os.getpid()) > 0


def small_scale(output: Path, *parts: str) -> tuple[dict[str, Any], str]:
    """What stands in the JSON, and what was printed."""
    code = (
        "import sys; from pathlib import Path; from lisa_ros.benchmark.options import NodeBenchmarkOptions as Options;"
        "from lisa_ros.models.common.options import LoadOptions;"
        "from lisa_ros.benchmark.node.run import run_node_benchmark;"
        "run_node_benchmark(Options(load=LoadOptions(device='cpu'), output=Path(sys.argv[1]), width=320, height=240,"
        "rate_hz=10.0, operators=2, commands=3, pairs=2, idle_s=1.0, parts=tuple(sys.argv[2:])))"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(output), *parts], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return json.loads((output / "benchmark_node.json").read_text()), ran.stdout


def test_a_small_flood(tmp_path: Path) -> None:
    figures, printed = small_scale(tmp_path / "node.json", "flood")
    assert (figures["flood"]["sent"], figures["flood"]["answers"], figures["flood"]["twice"]) == (6, 6, 0)
    assert [bar["name"].split(":")[0] for bar in figures["bars"]] == ["flood"] * 3
    assert "| flood: answers | 6 of 6, 0 twice, 0 refused | 6, none twice | yes |" in printed


@pytest.mark.slow
def test_the_whole_on_a_small_scale(tmp_path: Path) -> None:
    figures, printed = small_scale(tmp_path / "new" / "node.json", *NODE_PARTS)
    assert (figures["flood"]["sent"], figures["flood"]["answers"], figures["flood"]["refused"]) == (6, 6, 0)
    assert figures["flood"]["mean_wait_s"] > 0 and figures["flood"]["longest_mean_ratio"] >= 1.0
    assert figures["added_time"]["pairs"] == 2 and figures["added_time"]["model"] > 0
    assert math.isfinite(figures["added_time"]["added"])
    assert figures["idling"]["node_percent"] > 0 and figures["idling"]["image_rate_hz"] > 0
    assert (figures["restarting"]["first_turn"], figures["restarting"]["next_turn"]) == (1, 2)
    assert len(figures["bars"]) == 6 and printed.count("|") > 30


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["--parts", "nothing"], "invalid choice"), (["--checkpoint", "/nowhere"], "is not a folder")],
)
def test_what_cannot_be_measured_is_said(tmp_path: Path, arguments: list[str], says: str) -> None:
    command = [sys.executable, "-m", "lisa_ros.cli", "benchmark", "node", "--output", str(tmp_path / "b.json")]
    ran = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode == 2 and says in ran.stderr and "Traceback" not in ran.stderr
