# SPDX-License-Identifier: Apache-2.0
"""How many robots a server can answer: the simulation, calibrated on a run of `lisa benchmark fleet`.

python -m lisa_ros.benchmark.fleet.capacity output/benchmark/fleet_answers.json    # up to 1,000 robots
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lisa_ros.benchmark.fleet.simulation import Costs, Site, simulate
from lisa_ros.fleet.compute_queue import NEW_IMAGE_LATER_S

_FRONT_S = (0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04)
_GAINS = (0.0, 0.2, 0.4)
_MINUTES = 5
"""Of the simulation with many robots."""
_FREE = (0.6, 0.7, 0.8, 0.9, 1.0)
"""Values that are tried for Costs and for the share of the cores that other programs leave."""


def figures(new_s: Sequence[float], known_s: Sequence[float], seconds: float) -> dict[str, float]:
    """Throughput, and percentiles of all whole answers."""
    times = [*new_s, *known_s]
    p50, p95 = (float(one) for one in np.percentile(times, [50, 95]))
    return {"commands/s": len(times) / seconds, "p50, ms": 1000 * p50, "p95, ms": 1000 * p95}


def measured(run: Mapping[str, Any], robots: int) -> dict[str, float]:
    """The figures of so many robots in fleet_answers.json: medians of its rounds."""
    rounds = [(_seconds(one["new_ms"]), _seconds(one["known_ms"]), one["seconds"]) for one in _rounds(run, robots)]
    return _medians([figures(*one) for one in rounds])


def costs_of(run: Mapping[str, Any], front_s: float, gain: float) -> Costs:
    """Costs by the times of a single robot, which never waits for another one: each command's median of the rounds."""
    alone = _rounds(run, 1)
    new_s, known_s = (
        [
            max(0.001, float(np.median(one)) / 1000 - front_s)
            for one in zip(*(each[name] for each in alone), strict=True)
        ]
        for name in ("new_ms", "known_ms")
    )
    own_s = [one["seconds"] - sum(one["new_ms"] + one["known_ms"]) / 1000 for one in alone]
    return Costs(new_s, known_s, front_s, max(0.0, float(np.median(own_s))) / len(new_s), gain)


def simulated(run: Mapping[str, Any], costs: Costs, cores: float, robots: int, seeds: int = 3) -> dict[str, float]:
    """The figures of a round of the same commands in the simulation, medians over some seeds."""
    first, *_ = _rounds(run, robots)
    commands = len(first["new_ms"]) + len(first["known_ms"])
    computed = run["computed"]
    # A replica that computes one command after the other (a CPU's) chooses which is the next; see fleet.compute_queue.
    site = Site(robots, run["replicas"], cores, computed, new_later_s=NEW_IMAGE_LATER_S if computed == 1 else 0.0)
    runs = [simulate(site, costs, commands, seed) for seed in range(seeds)]
    return _medians([figures(one.new_s, one.known_s, one.seconds) for one in runs])


def _rounds(run: Mapping[str, Any], robots: int) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = run["robots"][str(robots)]
    return found


def _seconds(milliseconds: Sequence[float]) -> list[float]:
    return [one / 1000 for one in milliseconds]


def _medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.median([one[name] for one in rounds])) for name in rounds[0]}


def errors(run: Mapping[str, Any], costs: Costs, cores: float, robots: int) -> dict[str, float]:
    """By how much the simulation is off, as a share."""
    real = measured(run, robots)
    return {name: value / real[name] - 1 for name, value in simulated(run, costs, cores, robots).items()}


def calibrated(run: Mapping[str, Any]) -> tuple[Costs, float]:
    """Costs, and the cores that other programs leave, for which the largest error of all figures is least."""
    tried = [
        (costs_of(run, front_s, gain), run["cores"] * free) for front_s in _FRONT_S for gain in _GAINS for free in _FREE
    ]
    return min(tried, key=lambda one: _largest_error(run, *one))


def _largest_error(run: Mapping[str, Any], costs: Costs, cores: float) -> float:
    """Of all figures of all numbers of robots, as a share."""
    found = (errors(run, costs, cores, int(robots)) for robots in run["robots"])
    return max(abs(error) for one in found for error in one.values())


def fewest_replicas(robots: int, costs: Costs, pause_s: float, p95_s: float) -> tuple[int, dict[str, float]]:
    """The fewest replicas, each with cores of its own, with which 95 % of the answers are whole after `p95_s`."""
    replicas = 1
    while True:
        site = Site(robots, replicas, pause_s=pause_s, commands_per_image=2)
        found = simulate(site, costs, robots * 1000, until_s=_MINUTES * 60)
        shown = figures(found.new_s, found.known_s, found.seconds)
        if shown["p95, ms"] <= 1000 * p95_s:
            return replicas, shown
        replicas += 1


@dataclass(frozen=True)
class Gpu:
    """A GPU by its data sheet: TFLOP/s (bf16, dense) and GB/s of its memory."""

    name: str
    tflops: float
    bandwidth: float


GPUS = (Gpu("RTX 4090", 165, 1008), Gpu("L40S", 362, 864), Gpu("A100 80 GB", 312, 2039), Gpu("H100 SXM", 989, 3350))
NEW_IMAGE_TFLOP, WEIGHTS_GB, TOKENS = 10.5, 13.5, 30
"""LISA-7B in bf16: SAM's and CLIP's encoders and a prompt of 330 tokens; language model; tokens of an answer."""
FLOP_SHARE, BANDWIDTH_SHARE, GPU_GAIN = 0.4, 0.5, 0.88
"""Assumed shares of the data sheet's figures; the gain is that of the `mini` shape in docs/benchmarks.md."""


def costs_on(gpu: Gpu) -> Costs:
    """Costs of LISA-7B by calculation, not by measurement."""
    decode_s = TOKENS * WEIGHTS_GB / (BANDWIDTH_SHARE * gpu.bandwidth)
    encode_s = NEW_IMAGE_TFLOP / (FLOP_SHARE * gpu.tflops)
    return Costs([decode_s + encode_s], [decode_s], gain=GPU_GAIN, encode_s=encode_s)


def main(arguments: Sequence[str]) -> None:
    """Prints how far the simulation is from the measured run, and replicas for up to 1,000 robots."""
    parser = argparse.ArgumentParser("lisa_ros.benchmark.fleet.capacity", description=main.__doc__)
    parser.add_argument("answers", type=Path, help="fleet_answers.json, which `lisa benchmark fleet` writes")
    try:
        run = json.loads(parser.parse_args(arguments).answers.read_text(encoding="utf-8"))
    except OSError as error:
        parser.error(str(error))
    costs, cores = calibrated(run)
    print(f"front end {1000 * costs.front_s:.0f} ms, gain {costs.gain}, {cores:.1f} cores\n")
    print("| robots | figure | measured | simulated | difference |\n|---|---|---|---|---|")
    for robots in sorted(map(int, run["robots"])):
        real, made = measured(run, robots), simulated(run, costs, cores, robots)
        for name, value in real.items():
            print(f"| {robots} | {name} | {value:.3g} | {made[name]:.3g} | {100 * (made[name] / value - 1):+.0f} % |")
    print("\n| LISA-7B on | robots | replicas | commands/s | p50, ms | p95, ms |\n|---|---|---|---|---|---|")
    for gpu in GPUS:
        for robots in (10, 100, 1000):
            replicas, shown = fewest_replicas(robots, costs_on(gpu), pause_s=30.0, p95_s=3.0)
            print(f"| {gpu.name} | {robots} | {replicas} | {' | '.join(f'{value:.3g}' for value in shown.values())} |")


if __name__ == "__main__":
    main(sys.argv[1:])
