# SPDX-License-Identifier: Apache-2.0
"""`lisa benchmark`: measures a model, beside the public implementation's way of computing where asked."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from lisa_ros.benchmark import measures
from lisa_ros.benchmark.measures import Figures, ask, camera_images
from lisa_ros.benchmark.models import ScriptedLisa, describe, load_scripted, random_lisa
from lisa_ros.benchmark.options import BenchmarkOptions
from lisa_ros.benchmark.report import machine, machine_line, medians, ratios, table
from lisa_ros.benchmark.stages_image import write_stages
from lisa_ros.benchmark.upstream_style import answer_as_upstream
from lisa_ros.models.loading import embedded_checkpoint
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.files.atomic_files import write_json
from lisa_ros.segmentation.files.output_folders import make_output_folder


def run_benchmark(options: BenchmarkOptions) -> dict[str, Any]:
    """Measures a model, writes benchmark.json and stages.png, and prints the table.

    Returns:
        what benchmark.json holds: "model", "machine", "options", "medians" and "rounds" (figures by name; the name ends
        with the unit), and "ratios".

    Raises:
        ValueError: an option, or the checkpoint, cannot be used.
        OSError: a file cannot be written.
    """
    make_output_folder(options.output)
    _cap_memory(options.memory_cap_gib)
    began = time.perf_counter()
    lisa = _model(options)
    known = {"loading, ms": 1000 * (time.perf_counter() - began)} if _is_loaded(options) else {}
    ran_on = machine(lisa.network.device)
    print(f"{lisa.name}, {options.repeats} rounds\n{machine_line(ran_on)}")
    rounds = _rounds(lisa, options)
    figures = medians([known, *rounds])
    compared = ratios(figures)
    report: dict[str, Any] = {
        "model": lisa.name,
        "machine": ran_on,
        "options": {"tokens": options.tokens, "repeats": options.repeats, **describe(options.load)},
        "medians": figures,
        "ratios": compared,
        "rounds": rounds,
    }
    write_json(options.output / "benchmark.json", report)
    write_stages(figures, f"{lisa.name}: a command about a new frame", options.output / "stages.png")
    print(f"\n{table(figures, compared)}\n\n{options.output}: benchmark.json, stages.png")
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
    camera = camera_images()
    lisa.script_answer(4)
    ask(lisa, lisa.encode(camera()), measures.COMMAND)  # the first command of a process fills caches
    parts: list[Callable[[], Figures]] = [
        lambda: measures.measure_commands(lisa, camera, options.tokens),
        lambda: measures.measure_lengths(lisa, camera),
        lambda: measures.measure_overlap(lisa, camera, options.tokens),
        lambda: measures.measure_stages(lisa, camera),
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
    """Of the process so far, before the public code's way allocates more."""
    peak = {"peak memory, GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9}
    if torch.cuda.is_available():
        peak["peak GPU memory, GB"] = torch.cuda.max_memory_allocated() / 1e9
    return peak


def _upstream(lisa: ScriptedLisa, tokens: int) -> Figures:
    """The public code's way, once: it takes minutes. Both ways' masks are compared: both must do the same work."""
    image = camera_images()()
    lisa.forget()
    lisa.find_region = None  # the public code has no such thing
    lisa.script_answer(tokens)
    theirs = answer_as_upstream(lisa, image, measures.COMMAND)
    ours = ask(lisa, lisa.encode(image), measures.COMMAND)
    return {
        "public code, whole answer, ms": 1000 * theirs.total_s,
        "public code, one token, ms": 1000 * float(np.median(theirs.tokens_s)),
        "public code, largest difference of mask logits (no unit)": float(np.abs(theirs.logits - ours.logits).max()),
    }
