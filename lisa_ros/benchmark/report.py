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


def ratios(told: Medians) -> Figures:
    """What the bars are about, of one run's medians. A share is of what the device itself was measured to do."""
    pairs = {
        "whole answer: upstream's way / ours": ("upstream's way, whole answer", "whole answer"),
        "first mask: upstream's way / ours": ("upstream's way, whole answer", "first mask"),
        f"first mask: {LONG} / {SHORT} tokens to follow": (
            f"first mask, {LONG} tokens to follow",
            f"first mask, {SHORT} tokens to follow",
        ),
        "next turn / first": ("next turn, first mask", "first mask"),
        "another operator / first": ("another operator, first mask", "first mask"),
        "SAM's encoder: segment-anything's own / ours": ("SAM's encoder, segment-anything's own", "SAM's encoder"),
        f"{OVERLAPPING} overlapping / one": (f"{OVERLAPPING} overlapping commands", "one command"),
    }
    found = {name: told[over] / told[under] for name, (over, under) in pairs.items() if over in told and under in told}
    return found | _shares(told)


def _shares(told: Medians) -> Figures:
    limit = told["memory read, GB/s"] / told["read for a token, GB"]
    needed_s = told["SAM's encoder, GFLOP"] / told["matrix product, GFLOP/s"]
    return {
        "tokens/s: share of the memory's limit": told["tokens/s after the mask"] / limit,
        "SAM's encoder: share of a matrix product's FLOP/s": needed_s / (told["SAM's encoder"] / 1000),
    }


def machine(device: torch.device) -> dict[str, Any]:
    """What it ran on."""
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


def table(told: Medians, compared: Medians) -> str:
    """Two tables in Markdown: figures, in milliseconds where the name says nothing else, and ratios."""
    rows = [f"| {name}{_unit(name)} | {_number(value)} |" for name, value in told.items()]
    ratio_rows = [f"| {name} | {value:.2f} |" for name, value in compared.items()]
    return "\n".join(["| | median |", "|---|---|", *rows, "", "| ratio | |", "|---|---|", *ratio_rows])


def _unit(name: str) -> str:
    return "" if "/s" in name or "GB" in name or "GFLOP" in name or "difference" in name else ", ms"


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
