# SPDX-License-Identifier: Apache-2.0
"""`lisa benchmark console`: eight pages with live images beside the node, in turns with no page; then one browser."""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch

from lisa_ros.benchmark.console.page_times import NoBrowserError, PageTimes, measure_page, page_bars
from lisa_ros.benchmark.node.added_time import WARMING_UP, Model, Pair, measure_pair
from lisa_ros.benchmark.node.asking import Asker, asking
from lisa_ros.benchmark.node.bars import Bar, table
from lisa_ros.benchmark.node.processor import process_s
from lisa_ros.benchmark.options import ConsoleBenchmarkOptions
from lisa_ros.benchmark.report import machine
from lisa_ros.demo.failure import DemoError
from lisa_ros.demo.processes import Child, isolate, node_command, running, share_memory
from lisa_ros.demo.script import SEED
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.loading import embedded_checkpoint, load_segmenter
from lisa_ros.segmentation.files.atomic_files import write_json
from lisa_ros.segmentation.files.output_folders import make_output_folder
from lisa_ros.simulation.tabletop import Tabletop

_NAMESPACE = "/benchmark"
_WIDTH, _HEIGHT = 640, 480
CONSOLE_PERCENT = 60.0
GROWTH_PERCENT = 10.0
_SETTLE_S = 3.0


@dataclass
class Blocks:
    """All blocks of one kind.

    Attributes:
        pairs: of commands, see added_time.
        console_s, seconds: processor time of the console, and how long the blocks were.
        images_a_second: of one page; one number a block.
    """

    pairs: list[Pair] = field(default_factory=list)
    console_s: float = 0.0
    seconds: float = 0.0
    images_a_second: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Cost:
    """Medians of all pairs of one kind, milliseconds, see AddedTime.

    Attributes:
        wall: until ~/segmentation's arrival: a page shows an answer, not a mask alone.
        added: wall less the model's own time.
        waited: for which the node's threads waited for a core during a command, all of them together.
        console_percent: of one core.
        images_a_second: of one page.
    """

    pairs: int
    wall: float
    model: float
    added: float
    added_processor: float
    waited: float
    console_percent: float
    images_a_second: float


def cost_of(blocks: Blocks) -> Cost:
    """The medians."""
    pairs = blocks.pairs
    return Cost(
        pairs=len(pairs),
        wall=median(pair.answer for pair in pairs),
        model=median(pair.model for pair in pairs),
        added=median(pair.answer - pair.model for pair in pairs),
        added_processor=median(pair.node_processor - pair.model_processor for pair in pairs),
        waited=median(pair.node_waited for pair in pairs),
        console_percent=100 * blocks.console_s / blocks.seconds,
        images_a_second=median(blocks.images_a_second or [0.0]),
    )


def bars(without: Cost, with_pages: Cost, pages: int) -> list[Bar]:
    """The bars of the two costs."""
    share, growth = with_pages.console_percent, 100 * (with_pages.added / without.added - 1)
    processor = 100 * (with_pages.added_processor / without.added_processor - 1)
    images = f"{share:.1f} %, {with_pages.images_a_second:.1f} images/s each"
    grown = (
        f"{without.added:.1f} to {with_pages.added:.1f} ms, {growth:+.0f} % (of processor time {processor:+.0f} %; "
        f"waiting for a core {without.waited:.1f} to {with_pages.waited:.1f} ms)"
    )
    return [
        Bar(f"console with {pages} pages", images, f"<= {CONSOLE_PERCENT:g} % of a core", share <= CONSOLE_PERCENT),
        Bar("the node's added time to an answer, median", grown, f"<= +{GROWTH_PERCENT:g} %", growth <= GROWTH_PERCENT),
    ]


def run_console_benchmark(options: ConsoleBenchmarkOptions) -> dict[str, Any]:
    """Measures the console beside a simulated camera and the node, in processes and a ROS domain of their own.

    Raises:
        DemoError: a process ended early, or a message did not come in time.
        OSError: a file cannot be written.
    """
    make_output_folder(options.output)
    isolate()
    share_memory()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="lisa_benchmark_") as folder:
        *kinds, times = _measured(options, Path(folder))
    without, with_pages = (cost_of(blocks) for blocks in kinds)
    found = [*bars(without, with_pages, options.pages), *(page_bars(times) if times else [])]
    report = {
        "machine": machine(torch.device("cpu")),
        "load": [load, os.getloadavg()[0]],
        "pages": options.pages,
        "without_pages": asdict(without),
        "with_pages": asdict(with_pages),
        "page_times_ms": asdict(times) if times else None,
        "bars": [asdict(bar) for bar in found],
    }
    write_json(options.output / "benchmark_console.json", report)
    print(f"\n{table(found)}\n\nLoad of the machine: {load:.1f}, at the end {os.getloadavg()[0]:.1f}")
    print(options.output / "benchmark_console.json")
    return report


def _measured(options: ConsoleBenchmarkOptions, folder: Path) -> tuple[Blocks, Blocks, PageTimes | None]:
    """The blocks without and with pages, measured in turns, and the times at a page; None: there is no browser."""
    with Tabletop(SEED, width=_WIDTH, height=_HEIGHT) as tabletop:
        view = tabletop.render()
    segmenter = load_segmenter(embedded_checkpoint(), LoadOptions())
    model = Model(segmenter, segmenter.encode(view.rgb))
    texts = [f"Where is the {target.colour} {target.kind}?" for target in view.objects]
    port = _free_port()
    camera = {"seed": SEED, "width": _WIDTH, "height": _HEIGHT, "rate_hz": 15.0}
    commands = {
        "sim_camera": node_command("sim_camera", _NAMESPACE, camera),
        "lisa_node": node_command("lisa_node", _NAMESPACE, {"dialogue_file": "''"}),
        "console": node_command("console", _NAMESPACE, {"port": port}),
    }
    with running(commands, folder) as children, asking(_NAMESPACE, 1, 1, _checking(children)) as asker:
        asker.wait_for_lisa(options.timeout_s)
        _, node, console = children
        measuring = _Measuring(asker, node.process.pid, console.process.pid, model, texts, options.timeout_s)
        measuring.block(Blocks(), WARMING_UP)
        without, with_pages = Blocks(), Blocks()
        viewers = [sys.executable, "-m", "lisa_ros.benchmark.console.viewers"]
        viewers += [f"ws://127.0.0.1:{port}/page", str(options.pages)]
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds} ...", flush=True)
            measuring.block(without, options.pairs)
            with running({"viewers": viewers}, folder) as [seen]:
                asker.pause(_SETTLE_S)
                measuring.block(with_pages, options.pairs)
            with_pages.images_a_second.append(_images_a_second(seen))
        times = _page_times(f"http://127.0.0.1:{port}/", texts, options)
    return without, with_pages, times


def _page_times(address: str, texts: Sequence[str], options: ConsoleBenchmarkOptions) -> PageTimes | None:
    print(f"{options.typed} commands typed into a page in Chromium ...", flush=True)
    try:
        return measure_page(_NAMESPACE, address, texts, options.typed, options.timeout_s)
    except NoBrowserError as error:
        print(error)
        return None


class _Measuring:
    """Gives commands, each of a new operator."""

    def __init__(
        self, asker: Asker, node: int, console: int, model: Model, texts: Sequence[str], timeout_s: float
    ) -> None:
        self._asker, self._node, self._console = asker, node, console
        self._model, self._texts, self._timeout_s = model, texts, timeout_s
        self._number = 0

    def block(self, blocks: Blocks, pairs: int) -> None:
        """Adds so many pairs."""
        began_s, before_s = time.monotonic(), process_s(self._console)
        for _ in range(pairs):
            self._number += 1
            operator, text = f"measured {self._number}", self._texts[self._number % len(self._texts)]
            pair = measure_pair(self._asker, self._node, self._model, operator, text, self._timeout_s)
            blocks.pairs.append(pair)
            self._asker.pause(0.2)  # operators do not type without a pause: the console's share is of a usual time
        blocks.console_s += process_s(self._console) - before_s
        blocks.seconds += time.monotonic() - began_s


def _images_a_second(viewers: Child) -> float:
    lines = viewers.log.read_text().strip().splitlines()
    try:
        counted = json.loads(lines[-1])
    except (IndexError, ValueError) as error:
        raise DemoError(f"The pages ended without a count: {lines[-3:]}") from error
    return float(median(counted["images"]) / counted["seconds"])


def _checking(children: Sequence[Child]) -> Callable[[], None]:
    def check() -> None:
        for child in children:
            child.check()

    return check


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


__all__ = ["ConsoleBenchmarkOptions", "DemoError", "run_console_benchmark"]
