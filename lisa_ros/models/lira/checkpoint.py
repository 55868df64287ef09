# SPDX-License-Identifier: Apache-2.0
"""Loads a LIRA folder that `lisa convert` wrote."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from lisa_ros.models.common.checkpoints.opening import Placement, empty_network, frozen, place, warmed_up
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.common.weights.files import WeightFiles
from lisa_ros.models.common.weights.filling import Filler, check_keys, quantized_layers
from lisa_ros.models.common.weights.quantization import quantize_linears
from lisa_ros.models.lira.configuration import LiraConfig, read_configuration
from lisa_ros.models.lira.decoding import Lira
from lisa_ros.models.lira.network import LiraNetwork
from lisa_ros.models.lira.reading import LiraEngine
from lisa_ros.models.lira.tokenizer import LiraTokenizer

_OMG = "omg."


def load_lira(folder: Path, options: LoadOptions | None = None) -> Lira:
    """Loads a LIRA folder that `lisa convert` wrote.

    Args:
        folder: config.json, tokenizer.model and the weights.
        options: precision, quantization, device and so on. `template` and `vision_tower` have no effect.

    Raises:
        CheckpointError: anything in the folder is missing, misshapen, unexpected or not safe to read.
        LisaError: an option is unknown, or the device is not there.
    """
    where = place(folder, options)
    config = read_configuration(folder)
    tokenizer = LiraTokenizer(folder / "tokenizer.model", config.added_tokens)
    network = load_network(folder, config, where)
    engine = LiraEngine(network, where.engine_options(can_capture=False))
    return warmed_up(Lira(network, config, tokenizer, where.name, engine, where.options), where)


def load_network(folder: Path, config: LiraConfig, where: Placement) -> LiraNetwork:
    """Builds the network and fills it. See load_lira for errors."""
    weights = WeightFiles(folder)
    network = empty_network(lambda: LiraNetwork(config), folder, "config.json")
    stored = weights.shapes()
    check_keys(network, stored, {key: key for key in stored}, folder, config.stored, file_key=str)
    weights.read_ahead()
    parts = quantized_layers(network, config.stored)
    quantize_linears(network.language, where.quantization, where.dtype, where.device)

    def dtype_of(key: str) -> torch.dtype:
        return torch.float32 if key.startswith(_OMG) else where.dtype

    Filler(network, where.dtype, where.device, parts, mapped=True, dtype_of=dtype_of).fill(weights, str)
    network.language.rotary_emb = LlamaRotaryEmbedding(config.language).to(where.device)
    if where.dtype == torch.bfloat16:
        round_omg(network)
    return frozen(network)


def round_omg(network: LiraNetwork) -> None:
    """Rounds OMG-Seg's weights to bfloat16: LIRA's own tools store them so before they compute in float32.

    The scale of the class logits is among them: 98.86 instead of 100.
    """
    for parameter in network.omg.parameters():
        parameter.data = parameter.data.bfloat16().float()
    head = network.omg.class_head
    head.logit_scale = torch.tensor(head.logit_scale).bfloat16().item()
