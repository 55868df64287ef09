# SPDX-License-Identifier: Apache-2.0
"""Whether a SegLLM checkpoint would load, from its index alone: a download of 80 kB instead of 14 GB."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import CLIPVisionConfig, LlamaConfig

from lisa_ros.models.common.config_file import read_json
from lisa_ros.models.common.errors import CheckpointError
from lisa_ros.models.common.weights.filling import needed_shapes
from lisa_ros.models.segllm.configuration import SEG_TOKEN, SLOT_TOKEN, SegllmConfig
from lisa_ros.models.segllm.hipie.backbone import StageSizes
from lisa_ros.models.segllm.hipie.network import HipieSizes
from lisa_ros.models.segllm.hipie.sizes import BACKBONE, ENCODER_LAYERS
from lisa_ros.models.segllm.keys import (
    CLIP,
    HIPIE,
    TRANSFORMER,
    count_after,
    decoder_layers,
    released_key,
    sorted_out,
)
from lisa_ros.models.segllm.network import SegllmNetwork

INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")


@dataclass(frozen=True)
class Verdict:
    """The result of comparing names; sizes are compared only when a folder is loaded.

    Attributes:
        loaded: how many tensors would be.
        skipped: how many would be left out on purpose.
        missing: names that are needed and not there.
        left_over: names that are there and unknown to this version.
        layers: part -> number of its layers, by the names.
    """

    loaded: int
    skipped: int
    missing: tuple[str, ...]
    left_over: tuple[str, ...]
    layers: dict[str, int]

    @property
    def would_load(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing


def names_in(folder: Path) -> list[str] | None:
    """The names of tensors in a folder's index, sorted; None where there is no index.

    Raises:
        CheckpointError: it is damaged.
    """
    for name in INDEXES:
        if (folder / name).is_file():
            names = read_json(folder / name).get("weight_map")
            if not isinstance(names, dict) or not names:
                raise CheckpointError(f"{folder / name} has no weight_map of tensors to file names")
            return sorted(names)
    return None


def is_segllm(names: Collection[str]) -> bool:
    """Whether the names are those of a SegLLM checkpoint."""
    return any(name.startswith(HIPIE) for name in names)


def dry_run(names: Collection[str], llama_layers: int | None = None, stored: str = "none") -> Verdict:
    """Compares names with those that a network of as many layers needs.

    Args:
        names: of a folder's tensors.
        llama_layers: LLaMA's number of layers; None: by the names, so that last layers that are missing as a whole are
            not noticed. For CLIP and HIPIE it is always by the names.
        stored: the quantization of LLaMA's linear layers in the files, one of CONVERTED_TO.
    """
    network = _network(names, llama_layers or count_after(names, "model.layers."))
    decoder = decoder_layers(names)
    needed = needed_shapes(network, stored)
    renamed, left_over = sorted_out(names, needed)
    found = {ours for ours in renamed.values() if ours is not None}
    loaded = sum(ours is not None for ours in renamed.values())
    return Verdict(
        loaded=loaded,
        skipped=len(renamed) - loaded - len(left_over),
        missing=tuple(sorted(released_key(key, decoder) for key in needed if key not in found)),
        left_over=tuple(left_over),
        layers={
            "LLaMA": network.language.config.num_hidden_layers,
            "CLIP": network.vision_tower.config.num_hidden_layers,
            "HIPIE's encoder": len(network.hipie.encoder.layers),
            "HIPIE's decoder": decoder,
        },
    )


def _network(names: Collection[str], llama_layers: int) -> SegllmNetwork:
    """A network with the numbers of layers that the names have, as narrow as possible, on the meta device."""
    language = LlamaConfig(
        vocab_size=8,
        hidden_size=8,
        intermediate_size=8,
        num_attention_heads=1,
        num_hidden_layers=max(1, llama_layers),
    )
    vision = CLIPVisionConfig(
        hidden_size=8,
        intermediate_size=8,
        num_attention_heads=1,
        num_hidden_layers=max(1, count_after(names, f"{CLIP}vision_model.encoder.layers.")),
    )
    config = SegllmConfig(
        language=language,
        vision_tower="",
        vision_width=8,
        select_layer=-2,
        added_tokens={SLOT_TOKEN: 3, SEG_TOKEN: 4},
    )
    with torch.device("meta"):
        return SegllmNetwork(config, vision, _sizes(names))


def _sizes(names: Collection[str]) -> HipieSizes:
    stages = [
        StageSizes(max(1, count_after(names, f"{BACKBONE}res{number}.")), 8, 8 * number) for number in range(2, 6)
    ]
    return HipieSizes(
        stem=8,
        stages=tuple(stages),
        encoder_layers=max(1, count_after(names, ENCODER_LAYERS)),
        encoder_inner=8,
        decoder_layers=max(1, count_after(names, f"{TRANSFORMER}decoder.layers.")),
        decoder_inner=8,
        fusion=8,
        text=8,
        queries=8,
        background=8,
    )
