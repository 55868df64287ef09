# SPDX-License-Identifier: Apache-2.0
"""`lisa benchmark node`: starts the camera and the node, measures, prints a table and writes a JSON file."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch

from lisa_ros.benchmark.node.added_time import Model, measure_added_time
from lisa_ros.benchmark.node.asking import Asker, asking
from lisa_ros.benchmark.node.bars import bars, table
from lisa_ros.benchmark.node.flood import measure_flood
from lisa_ros.benchmark.node.idling import measure_idling
from lisa_ros.benchmark.node.restarting import measure_restarting
from lisa_ros.benchmark.options import NodeBenchmarkOptions
from lisa_ros.benchmark.report import machine
from lisa_ros.demo.failure import DemoError
from lisa_ros.demo.processes import Child, isolate, node_command, running, share_memory
from lisa_ros.demo.script import SEED
from lisa_ros.models.loading import embedded_checkpoint, load_segmenter
from lisa_ros.nodes.common.starting import Stop
from lisa_ros.segmentation.files.atomic_files import write_json
from lisa_ros.segmentation.files.output_folders import make_output_folder
from lisa_ros.simulation.scene import View
from lisa_ros.simulation.tabletop import Tabletop

_NAMESPACE = "/benchmark"


def run_node_benchmark(options: NodeBenchmarkOptions) -> dict[str, Any]:
    """Measures lisa_node beside a simulated camera, in processes and a ROS domain of their own.

    Returns:
        what the JSON file holds: "machine", "options", "load" (average over a minute, before and after), the parts'
        figures ("idling", "added_time", "flood", "restarting"), and "bars".

    Raises:
        ValueError: an option cannot be used.
        DemoError: a node ended early, or a message did not come in time.
        OSError: a file cannot be written.
        KeyboardInterrupt: SIGINT or SIGTERM came; all processes have ended.
    """
    make_output_folder(options.output)
    isolate()
    share_memory()
    load_before = os.getloadavg()[0]
    with _deferred_signals() as interrupted, tempfile.TemporaryDirectory(prefix="lisa_benchmark_") as folder:
        figures = _Measuring(options, Path(folder), interrupted).all()
    found = bars(figures, options.rate_hz)
    report = {
        "machine": machine(torch.device("cpu")),
        "options": {name: str(value) for name, value in dataclasses.asdict(options).items()},
        "load": {"before": load_before, "after": os.getloadavg()[0]},
        **figures,
        "bars": [dataclasses.asdict(bar) for bar in found],
    }
    write_json(options.output / "benchmark_node.json", report)
    print(f"\n{table(found)}\n\nLoad of the machine: {load_before:.1f}, at the end {os.getloadavg()[0]:.1f}")
    print(options.output / "benchmark_node.json")
    return report


@contextmanager
def _deferred_signals() -> Iterator[Stop]:
    """Records SIGINT and SIGTERM for the waits to check: an exception at any moment could lose a process."""
    noted = Stop()
    before = {number: signal.signal(number, lambda *_: noted.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Measuring:
    """The parts of one measurement, with what they share."""

    def __init__(self, options: NodeBenchmarkOptions, folder: Path, interrupted: Stop) -> None:
        self._options, self._folder, self._interrupted = options, folder, interrupted
        self._children: list[Child] = []
        with Tabletop(SEED, width=options.width, height=options.height) as tabletop:
            self._view: View = tabletop.render()
        self._texts = [f"Where is the {target.colour} {target.kind}?" for target in self._view.objects]

    def all(self) -> dict[str, Any]:
        """The chosen parts' figures, by name."""
        options = self._options
        camera = {"seed": SEED, "width": options.width, "height": options.height, "rate_hz": options.rate_hz}
        command = node_command("sim_camera", _NAMESPACE, camera)
        with (
            running({"sim_camera": command}, self._folder) as [child],
            self._watched(child),
            asking(_NAMESPACE, options.operators, options.commands, self._check) as asker,
        ):
            return {name: self._figures(name, asker) for name in options.parts}

    def _figures(self, name: str, asker: Asker) -> dict[str, Any]:
        print(f"{name} ...", flush=True)
        measure: Callable[[Asker], Any] = getattr(self, f"_{name}")
        return dataclasses.asdict(measure(asker))

    def _idling(self, asker: Asker) -> Any:
        with self._node("idling") as [child]:
            asker.wait_for_lisa(self._options.timeout_s)
            return measure_idling(asker, child.process.pid, self._options.idle_s)

    def _added_time(self, asker: Asker) -> Any:
        options = self._options
        segmenter = load_segmenter(options.checkpoint or embedded_checkpoint(), options.load)
        model = Model(segmenter, segmenter.encode(self._view.rgb))
        with self._node("added_time") as [child]:
            asker.wait_for_lisa(options.timeout_s)
            identity = child.process.pid
            return measure_added_time(asker, identity, model, self._texts, options.pairs, options.timeout_s)

    def _flood(self, asker: Asker) -> Any:
        options = self._options
        with self._node("flood"):
            asker.wait_for_lisa(options.timeout_s)
            asker.ask("nobody", self._texts[0], options.timeout_s)  # the image is encoded once
            return measure_flood(asker, options.operators, options.commands, self._texts, options.timeout_s)

    def _restarting(self, asker: Asker) -> Any:
        return measure_restarting(asker, self._node, self._view, self._options.timeout_s)

    @contextmanager
    def _node(self, name: str) -> Iterator[list[Child]]:
        """A new lisa_node for each part, so that nothing is cached from the part before."""
        with running({f"lisa_node_{name}": self._command()}, self._folder) as children, self._watched(*children):
            yield children

    def _command(self) -> list[str]:
        load, checkpoint = self._options.load, self._options.checkpoint
        parameters: dict[str, object] = {
            "precision": load.precision,
            "quantization": load.quantization,
            "device": load.device,
            "template": load.template,
            "cache_mib": load.cache_mib,
            # JSON is YAML: any path stays one string.
            "vision_tower": json.dumps(load.vision_tower or ""),
            "checkpoint": json.dumps(str(checkpoint.expanduser().resolve()) if checkpoint else ""),
            "dialogue_file": json.dumps(str(self._folder / "dialogues.sqlite")),
            # Holds the whole flood.
            "queue_size": max(16, self._options.operators * self._options.commands),
        }
        return node_command("lisa_node", _NAMESPACE, parameters)

    def _watched(self, *children: Child) -> AbstractContextManager[None]:
        return _listed(self._children, *children)

    def _check(self) -> None:
        if self._interrupted.is_set():
            raise KeyboardInterrupt
        for child in self._children:
            child.check()


@contextmanager
def _listed(all_of_them: list[Child], *children: Child) -> Iterator[None]:
    all_of_them.extend(children)
    try:
        yield
    finally:
        for child in children:
            all_of_them.remove(child)


__all__ = ["DemoError", "run_node_benchmark"]
