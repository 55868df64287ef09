# SPDX-License-Identifier: Apache-2.0
"""Measures a server against local models, and prints a table with the bars."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import numpy as np
import torch
from tqdm import tqdm

from lisa_ros.benchmark.fleet.bad_link import Link, relayed
from lisa_ros.benchmark.fleet.robots import COMMANDS, Fleet, Image, ask, local_processes, many_robots, one_robot
from lisa_ros.fleet.application import ServerSettings
from lisa_ros.fleet.remote_segmenter import RemoteSegmenter, RemoteSettings
from lisa_ros.fleet.server_process import NAME, Server, serving
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.loading import embedded_checkpoint, load_segmenter
from lisa_ros.segmentation.answers import Finished
from lisa_ros.segmentation.files.atomic_files import write_json
from lisa_ros.segmentation.files.output_folders import make_output_folder
from lisa_ros.segmentation.turns import Turn, turn_of
from lisa_ros.simulation.tabletop import Tabletop

_SETTINGS = RemoteSettings(jpeg_quality=0, timeout_s=60.0)
_DELAY_S = 0.1
_LOSS = 0.01
_WAIT_S = 180.0
_ROUNDS = 5
"""In which all numbers of robots take turns. The capacity model takes medians of the rounds, so that other programs,
which slow some of them, do not count."""


@dataclass(frozen=True)
class FleetBenchmarkOptions:
    """One measurement.

    Attributes:
        checkpoint: None: the embedded one.
        output: folder for benchmark_fleet.json, fleet_answers.json (for the capacity model) and the server's log.
        robots: that ask at the same time.
        commands: of all robots together.
        replicas: of the model.
        kills: replicas that are killed while 100 commands are answered.
        images: of the simulated table, 640 x 480.
    """

    checkpoint: Path | None = None
    output: Path = Path("output/benchmark")
    robots: int = 8
    commands: int = 800
    replicas: int = 2
    kills: int = 10
    images: int = 12


def run_fleet_benchmark(wanted: FleetBenchmarkOptions) -> None:
    """Measures, prints the table and writes benchmark_fleet.json."""
    make_output_folder(wanted.output)
    images = _images(wanted.images)
    np.save(wanted.output / "fleet_images.npy", np.stack(images))
    local = load_segmenter(wanted.checkpoint or embedded_checkpoint(), LoadOptions(threads=1))
    expected = [
        [ask(local, encoded, text).finished for text in COMMANDS] for encoded in (local.encode(one) for one in images)
    ]
    figures = {f"local processes, {wanted.replicas}, commands/s": _locally(wanted)}
    with serving(wanted.checkpoint, wanted.replicas, wanted.output, _WAIT_S) as server:
        remote = RemoteSegmenter(server.address, _SETTINGS)
        figures |= one_robot(remote, local, images)
        figures |= _bytes(server.address, images, turn_of(COMMANDS[0], expected[0][0], 1))
        figures |= _on_a_slow_link(server.address, images)
        rounds = dict[int, list[Fleet]]()
        for _ in range(_ROUNDS):
            for robots, commands in _loads(wanted):
                seen = many_robots(server.address, images, expected, robots, _each(commands, robots))
                rounds.setdefault(robots, []).append(seen)
        together = Fleet.of(rounds[wanted.robots]).figures
        figures |= {f"{wanted.robots} robots: {name}": value for name, value in together.items()}
        figures |= _with_kills(server, wanted, images, expected)
    runs = {robots: [fleet.measured for fleet in each] for robots, each in rounds.items()}
    computed = ServerSettings(gpus=float(torch.cuda.is_available())).computed
    measured = {"replicas": wanted.replicas, "computed": computed, "cores": os.cpu_count(), "robots": runs}
    write_json(wanted.output / "fleet_answers.json", measured)
    _report(figures, wanted)


def _loads(wanted: FleetBenchmarkOptions) -> list[tuple[int, int]]:
    """Numbers of robots and of commands: fewer robots first, for the capacity model."""
    fewer = sorted({1, max(1, wanted.robots // 4), max(1, wanted.robots // 2)} - {wanted.robots})
    return [*((robots, max(robots, wanted.commands // 4)) for robots in fewer), (wanted.robots, wanted.commands)]


def _each(commands: int, robots: int) -> int:
    """Commands of each robot in a round: about whole images, so that a quarter of them finds its image new."""
    return max(1, math.ceil(commands / robots / _ROUNDS / len(COMMANDS))) * len(COMMANDS)


def _locally(wanted: FleetBenchmarkOptions) -> float:
    each = wanted.commands // wanted.replicas
    return local_processes(wanted.replicas, each, wanted.output / "fleet_images.npy", wanted.checkpoint)


def _images(count: int) -> list[Image]:
    with Tabletop(2026) as table:
        found = []
        for _ in tqdm(range(count), desc="rendering", unit="image"):
            found.append(table.render().rgb)
            table.rearrange()
            table.move_camera()
        return found


def _bytes(server: str, images: Sequence[Image], turn: Turn) -> dict[str, float]:
    """Bytes up, as JPEG, per command about a new and about a known image; each with a dialogue of one turn."""
    remote = RemoteSegmenter(server, replace(_SETTINGS, jpeg_quality=90))
    new, known = list[int](), list[int]()
    for image in images:
        encoded = remote.encode(image)
        for sizes in (new, known):
            before = remote.traffic.sent_bytes
            ask(remote, encoded, COMMANDS[0], [turn])
            sizes.append(remote.traffic.sent_bytes - before)
    raw = images[0].nbytes
    return {
        "raw image / request with a new image, bytes": raw / median(new),
        "raw image / request about a known image, bytes": raw / median(known),
    }


def _on_a_slow_link(server: str, images: Sequence[Image]) -> dict[str, float]:
    """Times over a link with 200 ms there and back that loses 1 % of the parts."""
    port = urlsplit(server).port or 0
    with relayed(port, Link(_DELAY_S, _LOSS)) as slow:
        remote = RemoteSegmenter(f"lisa://127.0.0.1:{slow}/{NAME}", replace(_SETTINGS, jpeg_quality=90))
        new, known = list[float](), list[float]()
        for image in images:
            encoded = remote.encode(image)
            for times in (new, known):
                times.append(1000 * ask(remote, encoded, COMMANDS[0]).first_s)
        remote.release()
    return {
        "first event, new image, link of 200 ms and 1 % loss, ms": median(new),
        "first event, known image, link of 200 ms and 1 % loss, ms": median(known),
    }


def _with_kills(
    server: Server, wanted: FleetBenchmarkOptions, images: Sequence[Image], expected: Sequence[Sequence[Finished]]
) -> dict[str, float]:
    """Commands while replicas are killed, until all kills have happened or a replica does not come back."""
    done = 0

    def kill() -> None:
        nonlocal done
        for _ in range(wanted.kills):
            server.kill_replica(wanted.replicas, _WAIT_S)
            done += 1

    counted = wrong = 0
    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    while not counted or killer.is_alive():
        fleet = many_robots(server.address, images, expected, 2, 50)
        counted += fleet.commands
        wrong += fleet.wrong
    return {"kills: replicas killed": done, "kills: commands": counted, "kills: wrong, lost or doubled": wrong}


def _report(figures: Mapping[str, float], wanted: FleetBenchmarkOptions) -> None:
    write_json(wanted.output / "benchmark_fleet.json", figures)
    rows = [
        f"| {name} | {value:,.3g} |" if value < 1000 else f"| {name} | {value:,.0f} |"
        for name, value in figures.items()
    ]
    print("\n".join(["| | |", "|---|---|", *rows]))
    print("\n".join(f"{'met' if met else 'missed'}: {bar}" for bar, met in _bars(figures, wanted).items()))


def _bars(figures: Mapping[str, float], wanted: FleetBenchmarkOptions) -> dict[str, bool]:
    many = f"{wanted.robots} robots: "
    local = figures[f"local processes, {wanted.replicas}, commands/s"]
    added = {
        kind: figures[f"first event, {kind}, remote, ms"] - figures[f"first event, {kind}, local, ms"]
        for kind in ("new image", "known image")
    }
    return {
        **{f"first event of a {kind}: {ms:.0f} ms more than local, at most 30": ms <= 30 for kind, ms in added.items()},
        "every answer equal to the local one": figures["equal answers, share"] == 1,
        "each command of many robots answered once": figures[f"{many}wrong, lost or doubled"] == 0,
        **{
            f"{kind}: p95 at most 2.5 times p50": figures[f"{many}{kind}, p95 / p50"] <= 2.5
            for kind in ("new image", "known image")
        },
        f"throughput {figures[f'{many}commands/s'] / local:.2f} of local processes', at least 0.9": figures[
            f"{many}commands/s"
        ]
        >= 0.9 * local,
        "each command answered once while replicas are killed": figures["kills: wrong, lost or doubled"] == 0,
        "a new image: at most 1/20 of the raw bytes": figures["raw image / request with a new image, bytes"] >= 20,
        "a known image: at most 1/200": figures["raw image / request about a known image, bytes"] >= 200,
    }
