# SPDX-License-Identifier: Apache-2.0
"""Prints the memory that LISA's released shapes take, computed from the shapes of their tensors; nothing is loaded.

tools/run python tools/model_memory.py

docs/models.md has the table; a test compares it.
"""

from __future__ import annotations

import math

import torch
from transformers import CLIPVisionConfig

from lisa_ros.benchmark.models import shape_configuration
from lisa_ros.benchmark.shapes import CLIP_VIT_L_14, RANDOM_SHAPES
from lisa_ros.models.common.weights.filling import quantized_layers
from lisa_ros.models.lisa.network import LisaNetwork

CONTEXT_TOKENS = 1000
"""Positions of the KV cache in the table: an image of 256 and some turns."""


def network(shape: str) -> LisaNetwork:
    """A network of a released shape on the meta device."""
    config = shape_configuration(RANDOM_SHAPES[shape])
    with torch.device("meta"):
        return LisaNetwork(config, CLIPVisionConfig(**CLIP_VIT_L_14), RANDOM_SHAPES[shape].sam)


def weight_bytes(lisa: LisaNetwork, quantization: str) -> dict[str, int]:
    """Bytes of language model, CLIP with projector, and SAM, in 16 bit where nothing is quantized."""
    layers = quantized_layers(lisa, quantization)
    taken = {"language": 0, "vision": 0, "sam": 0}
    for name, tensor in lisa.state_dict().items():
        layer, _, last = name.rpartition(".")
        part = (
            "sam" if name.startswith("visual_model.") else "vision" if name.startswith("vision_tower.") else "language"
        )
        if layer in layers and last == "weight":
            taken[part] += sum(math.prod(one.shape) * one.dtype.itemsize for one in layers[layer].values())
        else:
            small = name.startswith(("visual_model.prompt_encoder.", "visual_model.mask_decoder."))
            taken[part] += tensor.numel() * (4 if small else 2)
    return taken


def main() -> None:
    """Prints a Markdown table."""
    print(
        "| shape | weights | language model | CLIP | SAM | sum | KV cache, 1000 tokens |\n|---|---|---|---|---|---|---|"
    )
    for shape in ("7b", "13b"):
        lisa, sizes = network(shape), RANDOM_SHAPES[shape]
        cache_gb = 2 * sizes.layers * sizes.hidden * 2 * CONTEXT_TOKENS / 1e9
        for quantization, title in (("none", "16 bit"), ("8bit", "8 bit"), ("4bit", "4 bit")):
            gb = {part: count / 1e9 for part, count in weight_bytes(lisa, quantization).items()}
            row = (gb["language"], gb["vision"], gb["sam"], sum(gb.values()), cache_gb)
            print(f"| {shape} | {title} | " + " | ".join(f"{one:.1f} GB" for one in row) + " |")


if __name__ == "__main__":
    main()
