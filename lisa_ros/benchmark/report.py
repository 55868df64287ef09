# SPDX-License-Identifier: Apache-2.0
"""Figures as a table for people and a JSON for programs."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

from lisa_ros.benchmark.measures import LONG, OVERLAPPING, SHORT, Figures

Medians = Mapping[str, float]


def medians(rounds: Sequence[Figures]) -> Figures:
    """The median of each figure over the rounds that have it."""
    names = dict.fromkeys(name for figures in rounds for name in figures)
    return {name: median(figures[name] for figures in rounds if name in figures) for name in names}


def ratios(figures: Medians) -> Figures:
    """Ratios of one run's medians, which the bars are about. A share is of the device's own measured speed."""
    public = "public code, whole answer, ms"
    pairs = {
        "whole answer: public code / ours": (public, "whole answer, ms"),
        "first mask: public code / ours": (public, "first mask, ms"),
        f"first mask: {LONG} / {SHORT} tokens to follow": (
            f"first mask, {LONG} tokens to follow, ms",
            f"first mask, {SHORT} tokens to follow, ms",
        ),
        "next turn / first": ("next turn, first mask, ms", "first mask, ms"),
        "another operator / first": ("another operator, first mask, ms", "first mask, ms"),
        "SAM's encoder: segment-anything / ours": ("SAM's encoder of segment-anything, ms", "SAM's encoder, ms"),
        f"{OVERLAPPING} overlapping / one": (f"{OVERLAPPING} overlapping commands, ms", "one command, ms"),
    }
    found = {
        name: figures[over] / figures[under]
        for name, (over, under) in pairs.items()
        if over in figures and under in figures
    }
    return found | _shares(figures)


def _shares(figures: Medians) -> Figures:
    limit = figures["memory read, GB/s"] / figures["weights read per token, GB"]
    needed_s = figures["SAM's encoder, GFLOP"] / figures["matrix product, GFLOP/s"]
    return {
        "tokens/s: share of the memory's limit": figures["text after the mask, tokens/s"] / limit,
        "SAM's encoder: share of a matrix product's FLOP/s": needed_s / (figures["SAM's encoder, ms"] / 1000),
    }


def machine(device: torch.device) -> dict[str, Any]:
    """The machine that ran it, for the JSON."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "torch": torch.__version__,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def machine_line(found: Mapping[str, Any]) -> str:
    """`machine` for people, in one line."""
    processor = f"{found['processor']}, {found['cores']} cores, {found['threads']} threads used"
    gpu = f"GPU {found['gpu']}" if found["gpu"] else "no GPU used"
    return f"{processor}; {gpu}; torch {found['torch']}; {found['date']}"


def table(figures: Medians, compared: Medians) -> str:
    """Two tables in Markdown: figures with their units, and ratios."""
    rows = [f"| {name} | {_number(value)} |" for name, value in figures.items()]
    ratio_rows = [f"| {name} | {value:.2f} |" for name, value in compared.items()]
    return "\n".join(["| | median |", "|---|---|", *rows, "", "| ratio | |", "|---|---|", *ratio_rows])


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
