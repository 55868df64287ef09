# SPDX-License-Identifier: Apache-2.0
"""`lisa benchmark` measures what it says; how fast this machine is, is not tested."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from lisa_ros.benchmark import models, shapes
from lisa_ros.benchmark.measures import COMMAND, ask, camera_images
from lisa_ros.benchmark.models import load_scripted, random_lisa
from lisa_ros.benchmark.options import SHAPES, BenchmarkOptions
from lisa_ros.benchmark.report import medians, ratios
from lisa_ros.benchmark.run import run_benchmark
from lisa_ros.benchmark.stages_image import stages_of
from lisa_ros.benchmark.upstream_style import answer_as_upstream
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.loading import embedded_checkpoint
from lisa_ros.training.embedded.architecture import SAM

UNIT = r"(, |/)(ms|tokens/s|frames/s|GB|GB/s|GFLOP|GFLOP/s)$|frames/s|\(no unit\)$"
BARS = {
    "whole answer: public code / ours",
    "first mask: 128 / 16 tokens to follow",
    "next turn / first",
    "another operator / first",
    "SAM's encoder: segment-anything / ours",
    "4 overlapping / one",
}


def test_the_embedded_model_against_the_public_codes_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "new"
    options = BenchmarkOptions(
        repeats=1, tokens=6, against="upstream-style", output=output, load=LoadOptions(device="cpu")
    )
    run_benchmark(options)
    report = json.loads((output / "benchmark.json").read_text())
    assert set(report["ratios"]) >= BARS
    assert all(value > 0 for name, value in report["medians"].items() if "difference" not in name)
    assert report["medians"]["public code, largest difference of mask logits (no unit)"] < 1e-3
    assert report["machine"]["threads"] >= 1 and report["options"]["tokens"] == 6
    assert all(re.search(UNIT, name) for name in report["medians"]), "every row has its unit"
    printed = capsys.readouterr().out
    assert re.search(r"\d+ cores, \d+ threads used; no GPU used; torch \d", printed) and "{" not in printed
    assert f"{output}: benchmark.json, stages.png" in printed
    width, height = Image.open(output / "stages.png").size
    assert width > 600 and height > 200
    stages = stages_of(report["medians"])
    first, whole = report["medians"]["first mask, ms"], report["medians"]["whole answer, ms"]
    assert stages["CLIP"] > 0 and stages["prompt (LLaMA)"] > 0 and stages["mask decoder"] > 0
    assert stages["text after the mask"] == pytest.approx(max(0.0, whole - first))


def test_the_stages_of_a_command_add_up_to_its_time() -> None:
    figures = {"CLIP, ms": 10.0, "SAM's encoder, ms": 50.0, "prompt (LLaMA), ms": 20.0, "mask decoder, ms": 5.0}
    figures |= {"first mask, ms": 90.0, "whole answer, ms": 100.0}
    found = stages_of(figures)
    assert sum(found.values()) == 100 and found["first tokens and other"] == 5 and found["text after the mask"] == 10
    assert stages_of(figures | {"first mask, ms": 60.0})["first tokens and other"] == 0, "stages that run at once"


def test_both_ways_say_the_script_and_mask_the_same() -> None:
    lisa = load_scripted(embedded_checkpoint(), LoadOptions(device="cpu"))
    lisa.find_region = None  # as in the benchmark: the public code has no such thing
    lisa.script_answer(9)
    assert len(lisa.script) == 9
    image = camera_images()()
    ours, theirs = ask(lisa, lisa.encode(image), COMMAND), answer_as_upstream(lisa, image, COMMAND)
    assert len(theirs.tokens_s) == 9
    assert ours.text.count("[SEG]") == 1
    assert abs(ours.logits - theirs.logits).max() < 1e-3
    assert ours.first_mask_s <= ours.total_s


@pytest.mark.parametrize("quantization", ["none", "4bit"])
def test_random_weights_are_the_same_each_time(monkeypatch: pytest.MonkeyPatch, quantization: str) -> None:
    tiny = replace(
        shapes.RANDOM_SHAPES["mini"], layers=2, hidden=128, intermediate=256, heads=4, sam=replace(SAM, depth=2)
    )
    monkeypatch.setitem(models.RANDOM_SHAPES, "mini", tiny)
    monkeypatch.setitem(models.CLIP_VIT_L_14, "num_hidden_layers", 2)
    logits = []
    for _ in range(2):
        lisa = random_lisa("mini", LoadOptions(quantization=quantization, device="cpu"))
        lisa.script_answer(5)
        logits.append(ask(lisa, lisa.encode(camera_images()()), COMMAND).logits)
    assert logits[0].std() > 0
    assert (logits[0] == logits[1]).all()


def test_every_shape_is_offered_and_made() -> None:
    assert set(SHAPES) == {"embedded", *shapes.RANDOM_SHAPES}


def test_medians_and_ratios_by_hand() -> None:
    machine = {"memory read, GB/s": 10.0, "weights read per token, GB": 2.0, "SAM's encoder, GFLOP": 50.0}
    machine |= {"matrix product, GFLOP/s": 100.0, "SAM's encoder, ms": 2000.0, "text after the mask, tokens/s": 4.0}
    rounds = [{"first mask, ms": value} for value in (100.0, 900.0, 200.0)]
    figures = medians([{"loading, ms": 7.0}, *rounds, machine | {"next turn, first mask, ms": 20.0}])
    assert figures["first mask, ms"] == 200 and figures["loading, ms"] == 7
    compared = ratios(figures)
    assert compared["next turn / first"] == 0.1
    assert compared["tokens/s: share of the memory's limit"] == 0.8
    assert compared["SAM's encoder: share of a matrix product's FLOP/s"] == 0.25


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--tokens", "3"], "4 or more"),
        pytest.param(
            ["--memory-cap-gib", "12"],
            "no CUDA device",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here"),
        ),
        (["--checkpoint", "/nowhere"], "is not a folder"),
    ],
)
def test_what_cannot_be_measured_is_said(tmp_path: Path, arguments: list[str], says: str) -> None:
    command = [sys.executable, "-m", "lisa_ros.cli", "benchmark", "--output", str(tmp_path / "b"), *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 2 and says in ran.stderr and "Traceback" not in ran.stderr
