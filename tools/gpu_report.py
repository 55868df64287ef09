#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures LISA on a GPU and writes a Markdown table: `python tools/gpu_report.py --output gpu.md`.

Needs torch with torchvision, transformers, safetensors, sentencepiece, tqdm, and segment-anything on the Python path (a
few hundred kB, no weights); for 4 bits bitsandbytes too. No ROS, and no installation of this package. The embedded
checkpoint is compared with the CPU; the released shapes (7b, 13b) have random weights, whose speed and memory are those
of trained ones.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

# The package as it lies here, where it is not installed.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lisa_ros.benchmark.measures import (
    COMMAND,
    Figures,
    ask,
    camera_images,
    measure_commands,
    measure_machine,
    measure_stages,
)
from lisa_ros.benchmark.models import ScriptedLisa, load_scripted, random_lisa
from lisa_ros.benchmark.report import medians, ratios
from lisa_ros.benchmark.shapes import RANDOM_SHAPES
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.loading import embedded_checkpoint

TOKENS = 64
"""Tokens of the answer that is timed to its end."""
ROWS = (
    "weights and buffers, GB",
    "peak memory, GB",
    "first mask, ms",
    "next turn, first mask, ms",
    "another operator, first mask, ms",
    "text after the mask, tokens/s",
    "tokens/s: limit of the memory's bandwidth",
    "tokens/s: share of the memory's limit",
    "CLIP, ms",
    "SAM's encoder, ms",
    "memory read, GB/s",
    "matrix product, GFLOP/s",
)


@dataclass(frozen=True)
class Column:
    """One model of the table: its shape, how its weights are held, and its figures or why there are none."""

    shape: str
    quantization: str
    figures: Figures
    missing: str = ""


def parity(device: str, images: int = 4) -> Figures:
    """Largest differences between the embedded checkpoint on the CPU and on the device, both in float32.

    Args:
        device: "cuda" or "cpu".
        images: how many are compared.

    Returns:
        of the mask logits the largest absolute difference, and the share of pixels with the same sign.
    """
    here, there = (
        load_scripted(embedded_checkpoint(), LoadOptions(device=name, precision="fp32")) for name in ("cpu", device)
    )
    camera, differences, same = camera_images(), [], []
    for _ in range(images):
        image = camera()
        logits = []
        for lisa in (here, there):
            lisa.forget()
            lisa.script_answer(8)
            logits.append(ask(lisa, lisa.encode(image), COMMAND).logits)
        differences.append(float(np.abs(logits[0] - logits[1]).max()))
        same.append(float(np.mean((logits[0] > 0) == (logits[1] > 0))))
    return {"largest difference of mask logits": max(differences), "pixels on the same side": min(same)}


def measure(shape: str, quantization: str, device: str, repeats: int) -> Column:
    """One model; what keeps it from being measured is said in the column."""
    if quantization != "none" and importlib.util.find_spec("bitsandbytes") is None:
        return Column(shape, quantization, {}, "bitsandbytes is not installed")
    try:
        return Column(shape, quantization, _figures(shape, quantization, device, repeats))
    except (torch.cuda.OutOfMemoryError, ValueError, RuntimeError) as error:
        return Column(shape, quantization, {}, f"{type(error).__name__}: {str(error).splitlines()[0]}")
    finally:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


def _figures(shape: str, quantization: str, device: str, repeats: int) -> Figures:
    lisa = random_lisa(shape, LoadOptions(quantization=quantization, device=device))
    loaded = _memory(lisa)
    camera = camera_images()
    lisa.script_answer(4)
    ask(lisa, lisa.encode(camera()), COMMAND)  # the first command of a process fills caches
    rounds = [
        measure_commands(lisa, camera, TOKENS) | measure_stages(lisa, camera) | measure_machine(lisa)
        for _ in range(repeats)
    ]
    found = medians(rounds)
    limit = found["memory read, GB/s"] / found["weights read per token, GB"]
    peak = torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else loaded
    return {
        **found,
        **ratios(found),
        "weights and buffers, GB": loaded,
        "peak memory, GB": peak,
        "tokens/s: limit of the memory's bandwidth": limit,
    }


def _memory(lisa: ScriptedLisa) -> float:
    """GB of weights and buffers."""
    network = lisa.network
    return sum(one.numel() * one.element_size() for one in (*network.parameters(), *network.buffers())) / 1e9


def markdown(device: str, compared: Figures, columns: Sequence[Column]) -> str:
    """The report."""
    lines = [f"# LISA on {_name(device)}", ""]
    lines += [
        f"torch {torch.__version__}, Python {platform.python_version()}. Milliseconds where a name says nothing else.",
        "",
    ]
    lines += [
        f"Parity of the embedded checkpoint with the CPU, float32: {name} {value:.6g}."
        for name, value in compared.items()
    ]
    lines += ["", "| | " + " | ".join(f"{one.shape}, {one.quantization}" for one in columns) + " |"]
    lines += ["|---" * (len(columns) + 1) + "|"]
    for row in ROWS:
        cells = [f"{one.figures[row]:.4g}" if row in one.figures else "" for one in columns]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    lines += [
        "",
        *(f"{one.shape}, {one.quantization} was not measured: {one.missing}." for one in columns if one.missing),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _name(device: str) -> str:
    if device == "cpu":
        return f"a CPU ({torch.get_num_threads()} threads)"
    facts = torch.cuda.get_device_properties(0)
    return f"{facts.name} ({facts.total_memory / 2**30:.0f} GiB)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and writes; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("gpu_report.md"), help="Markdown file")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: to try the tool out")
    parser.add_argument("--shapes", nargs="+", choices=tuple(RANDOM_SHAPES), default=["7b", "13b"])
    parser.add_argument("--quantizations", nargs="+", choices=("none", "8bit", "4bit"), default=["none", "4bit"])
    parser.add_argument("--repeats", type=int, default=3, help="rounds; medians are reported")
    chosen = parser.parse_args(arguments)
    if chosen.device == "cuda" and not torch.cuda.is_available():
        print("torch sees no CUDA device; --device cpu tries the tool out", file=sys.stderr)
        return 1
    compared = parity(chosen.device)
    pairs = [(shape, quantization) for shape in chosen.shapes for quantization in chosen.quantizations]
    columns: list[Column] = []
    for shape, quantization in pairs:
        print(f"{shape}, {quantization} ...", file=sys.stderr)
        columns.append(measure(shape, quantization, chosen.device, chosen.repeats))
        chosen.output.write_text(markdown(chosen.device, compared, columns), encoding="utf-8")
    print(chosen.output.read_text(encoding="utf-8"))
    return 0 if any(not one.missing for one in columns) else 1


if __name__ == "__main__":
    raise SystemExit(main())
