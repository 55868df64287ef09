# SPDX-License-Identifier: Apache-2.0
"""A model measured from its loading to upstream's way of computing: what `lisa benchmark` does."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from lisa_ros.benchmark import measures
from lisa_ros.benchmark.measures import Figures, ask, camera_pictures
from lisa_ros.benchmark.models import ScriptedLisa, describe, load_scripted, random_lisa
from lisa_ros.benchmark.options import BenchmarkOptions
from lisa_ros.benchmark.report import machine, medians, ratios, table
from lisa_ros.benchmark.upstream_style import answer_as_upstream
from lisa_ros.models.loading import embedded_checkpoint
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.files.atomic_files import write_json
from lisa_ros.segmentation.files.output_folders import make_output_folder


def run_benchmark(options: BenchmarkOptions) -> dict[str, Any]:
    """Measures a model, writes the JSON, and prints the table.

    Returns:
        what stands in the JSON: "model", "machine", "options", "medians" and "rounds" (figures by name, milliseconds
        where the name says nothing else), and "ratios".

    Raises:
        ValueError: an option, or the checkpoint, cannot be used.
        OSError: the JSON cannot be written.
    """
    make_output_folder(options.output)
    _cap_memory(options.memory_cap_gib)
    began = time.perf_counter()
    lisa = _model(options)
    known = {"loading": 1000 * (time.perf_counter() - began)} if _is_loaded(options) else {}
    print(f"{lisa.name}: {options.repeats} rounds on {machine(lisa.network.device)}")
    rounds = _rounds(lisa, options)
    told = medians([known, *rounds])
    compared = ratios(told)
    report: dict[str, Any] = {
        "model": lisa.name,
        "machine": machine(lisa.network.device),
        "options": {"tokens": options.tokens, "repeats": options.repeats, **describe(options.load)},
        "medians": told,
        "ratios": compared,
        "rounds": rounds,
    }
    write_json(options.output / "benchmark.json", report)
    print(f"\n{table(told, compared)}\n\n{options.output / 'benchmark.json'}")
    return report


def _is_loaded(options: BenchmarkOptions) -> bool:
    return options.checkpoint is not None or options.shape == "embedded"


def _model(options: BenchmarkOptions) -> ScriptedLisa:
    if _is_loaded(options):
        return load_scripted(options.checkpoint or embedded_checkpoint(), options.load)
    return random_lisa(options.shape, options.load)


def _cap_memory(gib: float | None) -> None:
    if gib is None:
        return
    if not torch.cuda.is_available():
        raise LisaError("a memory cap is of a GPU's memory, and torch sees no CUDA device here; leave it out")
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, gib * 2**30 / total))


def _rounds(lisa: ScriptedLisa, options: BenchmarkOptions) -> list[Figures]:
    shots = camera_pictures()
    lisa.say(4)
    ask(lisa, lisa.encode(shots()), measures.COMMAND)  # the first command of a process warms caches up
    parts: list[Callable[[], Figures]] = [
        lambda: measures.measure_commands(lisa, shots, options.tokens),
        lambda: measures.measure_lengths(lisa, shots),
        lambda: measures.measure_overlap(lisa, shots, options.tokens),
        lambda: measures.measure_stages(lisa, shots),
        lambda: measures.measure_machine(lisa),
    ]
    once = 2 if options.against else 1
    rounds: list[Figures] = []
    with tqdm(total=options.repeats * len(parts) + once, desc="measuring", unit="part", disable=None) as bar:
        for _ in range(options.repeats):
            figures: Figures = {}
            for part in parts:
                figures |= part()
                bar.update()
            rounds.append(figures)
        rounds[-1] |= _peak_memory()
        bar.update()
        if options.against:
            rounds[-1] |= _upstream(lisa, options.tokens)
            bar.update()
    return rounds


def _peak_memory() -> Figures:
    """Of the process so far, before upstream's way takes any."""
    peak = {"peak memory, GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9}
    if torch.cuda.is_available():
        peak["peak GPU memory, GB"] = torch.cuda.max_memory_allocated() / 1e9
    return peak


def _upstream(lisa: ScriptedLisa, tokens: int) -> Figures:
    """Upstream's way, once: it takes minutes. The masks of both ways are compared, so that both do the same work."""
    image = camera_pictures()()
    lisa.forget()
    lisa.say(tokens)
    theirs = answer_as_upstream(lisa, image, measures.COMMAND)
    ours = ask(lisa, lisa.encode(image), measures.COMMAND)
    return {
        "upstream's way, whole answer": 1000 * theirs.total_s,
        "upstream's way, a token": 1000 * float(np.median(theirs.tokens_s)),
        "upstream's way, largest difference of mask logits": float(np.abs(theirs.logits - ours.logits).max()),
    }
