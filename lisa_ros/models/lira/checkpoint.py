# SPDX-License-Identifier: Apache-2.0
"""A converted LIRA folder, ready to be asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from lisa_ros.models.common.configuration import settled_quantization
from lisa_ros.models.common.devices import choose_device, choose_dtype
from lisa_ros.models.common.errors import CheckpointError
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.common.weights.files import WeightFiles
from lisa_ros.models.common.weights.filling import Filler, check_keys, quantized_layers
from lisa_ros.models.common.weights.quantization import quantize_linears
from lisa_ros.models.lira.configuration import LiraConfig, read_configuration
from lisa_ros.models.lira.decoding import Lira
from lisa_ros.models.lira.network import LiraNetwork
from lisa_ros.models.lira.tokenizer import LiraTokenizer

_OMG = "omg."


def load_lira(folder: Path, options: LoadOptions | None = None) -> Lira:
    """Loads a LIRA folder that `lisa convert` wrote, ready to look at pictures and to answer.

    Args:
        folder: config.json, tokenizer.model and the weights.
        options: precision, quantization, device and so on. `template` and `vision_tower` are LISA's.

    Raises:
        CheckpointError: anything in the folder is missing, misshapen, unexpected or not safe to read.
        ValueError: an option is not one of the known ones, or the device is not there.
    """
    options = options or LoadOptions()
    options.check()
    device = choose_device(options.device)
    config = read_configuration(folder)
    options = replace(options, quantization=settled_quantization(folder, options.quantization))
    dtype = choose_dtype(options, device)
    tokenizer = LiraTokenizer(folder / "tokenizer.model", config.added_tokens)
    network = load_network(folder, config, options.quantization, dtype, device)
    name = f"{folder.resolve().name} ({str(dtype).removeprefix('torch.')}, {options.quantization}, {device})"
    lira = Lira(network, config, tokenizer, name, options)
    if device.type == "cuda":
        lira.warm_up()
    return lira


def load_network(
    folder: Path, config: LiraConfig, quantization: str, dtype: torch.dtype, device: torch.device
) -> LiraNetwork:
    """Builds the network and fills it. See load_lira for what it raises."""
    weights = WeightFiles(folder)
    network = _build(folder, config)
    stored = weights.shapes()
    check_keys(network, stored, {key: key for key in stored}, folder, config.stored, told_key=str)
    weights.read_ahead()
    parts = quantized_layers(network, config.stored)
    quantize_linears(network.language, quantization, dtype, device)

    def dtype_of(key: str) -> torch.dtype:
        return torch.float32 if key.startswith(_OMG) else dtype

    Filler(network, dtype, device, parts, mapped=True, dtype_of=dtype_of).fill(weights, str)
    network.language.rotary_emb = LlamaRotaryEmbedding(config.language).to(device)
    if dtype == torch.bfloat16:
        round_omg(network)
    return network.eval().requires_grad_(False)


def round_omg(network: LiraNetwork) -> None:
    """Rounds OMG-Seg's numbers to bfloat16, in which LIRA's own tools hold them before they compute in float32.

    The class logits' scale is among them: 98.86 instead of 100.
    """
    for parameter in network.omg.parameters():
        parameter.data = parameter.data.bfloat16().float()
    head = network.omg.class_head
    head.logit_scale = torch.tensor(head.logit_scale).bfloat16().item()


def _build(folder: Path, config: LiraConfig) -> LiraNetwork:
    try:
        with torch.device("meta"):
            return LiraNetwork(config)
    except Exception as error:  # sizes of which no network can be made: transformers raises what it comes to
        raise CheckpointError(f"{folder}: no network has the sizes of its config.json: {error}") from error
