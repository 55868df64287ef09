# SPDX-License-Identifier: Apache-2.0
"""LoRA (arXiv 2106.09685) on LISA's language model, by peft, and the parts that are trained without it.

As upstream trains (dvlab-research/LISA at 3cb2d43, train_ds.py): adapters on LLaMA's q_proj and v_proj, and as a whole
the token embeddings, the output layer, `text_hidden_fcs` and SAM's mask decoder. CLIP, the projector and SAM's encoder
stay frozen.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lisa_ros.models.common.weights.files import WeightFiles
from lisa_ros.models.lisa.keys import lisa_key
from lisa_ros.models.lisa.network import LisaNetwork
from lisa_ros.segmentation.errors import LisaError, how_to_install
from lisa_ros.training.finetune.options import WHOLE_PARTS, LoraOptions, check_trained

_ADAPTER = "default"
_INSIDE_ADAPTER = re.compile(r"^(?P<layer>.+)\.(?:base_layer|lora_[A-Za-z_]+)(?:\..+)?$")


def prepare(network: LisaNetwork, lora: LoraOptions, whole: Collection[str], folder: Path) -> None:
    """Makes a loaded network trainable, in place: adds the adapters and unfreezes the parts that are trained whole.

    Trained weights are float32 whatever the rest is, since small steps vanish in 16 bits; the whole parts are read
    from the checkpoint again, which has their exact values.

    Args:
        network: from `load_network`, in any precision or quantization of its linear layers.
        lora: the adapters. Their first values are drawn from torch's generator.
        whole: names of WHOLE_PARTS.
        folder: the checkpoint that the network was loaded from.

    Raises:
        ValueError: an invalid option or name; nothing to train; peft is not installed.
    """
    lora.check()
    unknown = sorted(set(whole) - set(WHOLE_PARTS))
    if unknown:
        raise LisaError(f"there is no part {', '.join(unknown)} to train; there are {', '.join(WHOLE_PARTS)}")
    check_trained(lora, whole)
    if lora.rank:
        _add_adapters(network, lora)
    modules = [network.get_submodule(WHOLE_PARTS[part]) for part in whole]
    for module in modules:
        module.requires_grad_(True)
    _read_exactly(network, folder)


def _add_adapters(network: LisaNetwork, lora: LoraOptions) -> None:
    # peft imports it where it is installed, and then it logs that kernels can be downloaded.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise LisaError(f"LoRA needs peft; {how_to_install('train')} ({error})") from error
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets),
        bias="none",
    )
    # Into the language model alone: CLIP's layers have the same names.
    inject_adapter_in_model(config, network.language, _ADAPTER)
    for name, weight in network.language.named_parameters():
        if ".lora_" in name:
            weight.data = weight.data.float()


def _read_exactly(network: LisaNetwork, folder: Path) -> None:
    """Gives the weights that are trained whole their stored numbers, in float32."""
    rough = {
        name: weight
        for name, weight in network.named_parameters()
        if weight.requires_grad and weight.dtype != torch.float32
    }
    if not rough:
        return
    for released, tensor in WeightFiles(folder).tensors():
        weight = rough.get(lisa_key(released) or "")
        if weight is not None:
            weight.data = tensor.to(weight.device, torch.float32)


@dataclass(frozen=True)
class TrainedPart:
    """For people: a part of the network, and how many of its weights are trained."""

    name: str
    weights: int


def trained_parts(network: LisaNetwork) -> list[TrainedPart]:
    """The trained parts: each whole part, and the adapters of each target."""
    sizes: dict[str, int] = {}
    for name, weight in network.named_parameters():
        if weight.requires_grad:
            part = _part_of(name)
            sizes[part] = sizes.get(part, 0) + weight.numel()
    return [TrainedPart(name, weights) for name, weights in sizes.items()]


def _part_of(name: str) -> str:
    inside = _INSIDE_ADAPTER.match(name)
    if inside:
        return f"LoRA on {inside['layer'].rpartition('.')[2]}"
    return next(part for part, prefix in WHOLE_PARTS.items() if name.startswith(f"{prefix}."))


class Learned:
    """The result of a training, as changes to the tensors of the checkpoint that it began with."""

    def __init__(self, network: LisaNetwork) -> None:
        """Takes a network that `prepare` made trainable, trained."""
        self._adapted: dict[str, Any] = {
            name: module for name, module in network.named_modules() if hasattr(module, "lora_A") and module.lora_A
        }
        self._whole = {
            name: weight
            for name, weight in network.named_parameters()
            if weight.requires_grad and not _INSIDE_ADAPTER.match(name)
        }

    def keys(self) -> Sequence[str]:
        """LisaNetwork's names of the tensors that were changed."""
        return [*(f"{name}.weight" for name in self._adapted), *self._whole]

    def applied(self, key: str, original: torch.Tensor) -> torch.Tensor:
        """A tensor of the checkpoint as it is after training, in its own type; one that was not trained as it was.

        Args:
            key: LisaNetwork's name of it.
            original: as stored. Adapters are added to it, not to what a quantized base made of it.
        """
        if key in self._whole:
            return self._whole[key].detach().cpu().to(original.dtype)
        module = self._adapted.get(key.removesuffix(".weight"))
        if module is None or not key.endswith(".weight"):
            return original
        down: torch.Tensor = module.lora_A[_ADAPTER].weight
        up: torch.Tensor = module.lora_B[_ADAPTER].weight
        delta = up.detach().float().cpu() @ down.detach().float().cpu()
        return (original.float() + float(module.scaling[_ADAPTER]) * delta).to(original.dtype)
