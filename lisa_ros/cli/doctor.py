# SPDX-License-Identifier: Apache-2.0
"""`lisa doctor`: prints in one page what a maintainer would ask for: versions, GPU, model, topics, clocks."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
from pathlib import Path
from typing import Any

from lisa_ros import __version__
from lisa_ros.cli.options import ros_name
from lisa_ros.models.common.config_file import config_of
from lisa_ros.models.loading import embedded_checkpoint, model_of
from lisa_ros.models.registry import registry
from lisa_ros.segmentation.files.arguments import seconds

PACKAGES = (
    "torch",
    "transformers",
    "bitsandbytes",
    "segment-anything",
    "numpy",
    "opencv-python",
    "huggingface-hub",
)


def add(commands: Any) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser("doctor", help="print versions, GPU, model, topics and clocks, and what looks wrong")
    parser.add_argument(
        "--checkpoint", type=Path, default=embedded_checkpoint(), help="checkpoint folder (default: the embedded model)"
    )
    for flag, default, what in (
        ("--image", "/image", "the camera's topic"),
        ("--depth", "/depth", "the topic of depth images"),
        ("--camera-info", "/camera_info", "the topic of intrinsics"),
        ("--node", "/lisa", "the node's full name"),
    ):
        parser.add_argument(flag, type=ros_name, default=default, help=f"{what} (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=seconds, default=5.0, help="how long to listen to the topics, s (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a page")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit status: 0, or 1 where something looks wrong."""
    report: dict[str, Any] = {
        "system": _system(),
        "packages": _versions(),
        "gpu": _gpu(),
        "model": _model(options.checkpoint),
    }
    advice: list[str] = []
    try:
        from lisa_ros.nodes.doctor.advice import advise
        from lisa_ros.nodes.doctor.probe import Wanted, listen
    except ModuleNotFoundError as error:
        report["ros"] = f"not sourced, or the package is not built ({error})"
    else:
        wanted = Wanted(options.image, options.depth, options.camera_info, options.node, options.seconds)
        facts = listen(wanted)
        report["ros"] = _environment() | facts.as_json()
        advice = advise(facts)
    advice = [*registry().broken, *advice]
    report["advice"] = advice
    print(json.dumps(report, indent=2) if options.json else _page(report))
    return 1 if advice else 0


def _system() -> dict[str, Any]:
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "lisa_ros": __version__,
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "memory_gb": round(memory_bytes / 1e9, 1),
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _gpu() -> dict[str, Any] | str:
    try:
        import torch
    except ImportError as error:
        return f"torch cannot be imported: {error}"
    if not torch.cuda.is_available():
        return "torch sees no CUDA device; models run on the CPU"
    one = torch.cuda.get_device_properties(0)
    free_bytes, total_bytes = torch.cuda.mem_get_info(0)
    return {
        "name": one.name,
        "compute_capability": f"{one.major}.{one.minor}",
        "memory_gb": round(total_bytes / 1e9, 1),
        "free_gb": round(free_bytes / 1e9, 1),
        "cuda": torch.version.cuda,
        "bf16": torch.cuda.is_bf16_supported(including_emulation=False),
    }


def _model(checkpoint: Path) -> dict[str, Any]:
    size_bytes = sum(file.stat().st_size for file in checkpoint.rglob("*") if file.is_file())
    config = config_of(checkpoint)
    return {
        "checkpoint": str(checkpoint),
        "is_demonstration_model": checkpoint.resolve() == embedded_checkpoint().resolve(),
        "model": model_of(checkpoint) if config else "no config.json that can be read",
        "size_gb": round(size_bytes / 1e9, 3),
        "vision_tower": str(config.get("vision_tower") or config.get("mm_vision_tower") or ""),
    }


def _environment() -> dict[str, Any]:
    shm = shutil.disk_usage("/dev/shm") if Path("/dev/shm").is_dir() else None
    return {
        "distribution": os.environ.get("ROS_DISTRO", "not sourced (wheels)"),
        "domain_id": os.environ.get("ROS_DOMAIN_ID", "0"),
        "discovery_range": os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET"),
        "shared_memory_free_mb": shm.free // 1_000_000 if shm else None,
    }


def _page(report: dict[str, Any]) -> str:
    lines: list[str] = []
    for title in ("system", "packages", "gpu", "model", "ros"):
        lines += [title, *_lines(report[title], "  ")]
    found = [f"  - {sentence}" for sentence in report["advice"]] or ["  nothing"]
    return "\n".join([*lines, "what looks wrong", *found])


def _lines(value: Any, indent: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{indent}{value}"]
    lines = []
    for key, one in value.items():
        if isinstance(one, dict):
            lines += [f"{indent}{key}", *_lines(one, indent + "  ")]
        else:
            shown = f"{one:.3g}" if isinstance(one, float) else ", ".join(one) if isinstance(one, list) else one
            lines.append(f"{indent}{key}: {shown}")
    return lines
