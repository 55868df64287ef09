# SPDX-License-Identifier: Apache-2.0
"""How long SegLLM's HIPIE takes for a round, with random weights of the released sizes.

`python -m lisa_ros.benchmark.hipie --threads 2 --repeats 3` prints the medians as JSON.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import torch
from numpy.typing import NDArray

from lisa_ros.models.segllm.hipie.backbone import StageSizes
from lisa_ros.models.segllm.hipie.network import CANVAS, Hipie, HipieSizes
from lisa_ros.models.segllm.network import TEXT_TOKENS

RELEASED = HipieSizes(
    stem=64,
    stages=(StageSizes(3, 64, 256), StageSizes(4, 128, 512), StageSizes(6, 256, 1024), StageSizes(3, 512, 2048)),
    encoder_layers=6,
    encoder_inner=2048,
    decoder_layers=6,
    decoder_inner=2048,
    fusion=2048,
    text=768,
    queries=100,
    background=10,
)
"""HIPIE with ResNet-50, as SegLLM's configuration has it."""


def random_hipie(sizes: HipieSizes = RELEASED) -> Hipie:
    """A network with seeded random weights: its masks mean nothing; its computing time is the same."""
    torch.manual_seed(0)
    hipie = Hipie(sizes).eval().requires_grad_(False)
    for name, parameter in hipie.named_parameters():
        if name.endswith(("gamma_v", "gamma_l", "level_embed", "log_scale", "bias_lang", "bias0")):
            parameter.normal_(std=0.02)
    return hipie


def measure(repeats: int) -> dict[str, float]:
    """Medians of an image's first round and of a later one, after one of each for warm-up.

    Wall-clock seconds, and CPU seconds of all cores; on a machine with other load the second is more reliable.
    """
    hipie, pixels = random_hipie(), torch.randn(3, CANVAS, CANVAS)
    prompts = torch.randn(repeats + 1, TEXT_TOKENS, RELEASED.text)
    encoding, finding = [], []
    with torch.inference_mode():
        for prompt in prompts:
            began = _now()
            features = hipie.encode(pixels)
            encoded = _now()
            hipie.find(features, prompt)
            found = _now()
            encoding.append(encoded - began)
            finding.append(found - encoded)
    first, later = np.median(encoding[1:], axis=0), np.median(finding[1:], axis=0)
    return {
        "parameters": sum(one.numel() for one in hipie.parameters()),
        "first_round_s": float(first[0] + later[0]),
        "first_round_cpu_s": float(first[1] + later[1]),
        "later_round_s": float(later[0]),
        "later_round_cpu_s": float(later[1]),
    }


def _now() -> NDArray[np.float64]:
    """Wall-clock seconds, and CPU seconds of the process on all cores."""
    return np.array([time.perf_counter(), time.process_time()])


def main() -> None:
    """Measures, and prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2, help="of torch (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="that the medians are of (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(json.dumps({"threads": options.threads, **measure(options.repeats)}))


if __name__ == "__main__":
    main()
