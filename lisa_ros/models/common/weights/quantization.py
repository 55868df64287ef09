# SPDX-License-Identifier: Apache-2.0
"""Weights in 8 or 4 bits, by bitsandbytes.

What is quantized, and why:

* the linear layers of LLaMA's decoder blocks: they are nearly all of the weights that a decoding step reads;
* not `lm_head`, `mm_projector`, `text_hidden_fcs`: they are 1-2 % of the weights, and each error in them changes a
  token, the whole image or a mask directly. (Upstream quantizes them too, because its list of exceptions replaces
  transformers' own.)
* not SAM, which makes the masks, nor CLIP: upstream leaves both in 16 bit.

4 bit is NF4 with double quantization (QLoRA, arXiv 2305.14314, section 3); the weights are converted to float16 first,
as upstream does, so that the 4-bit numbers are the same. 8 bit is LLM.int8() (arXiv 2208.07339), outlier threshold 6.
"""

from __future__ import annotations

import importlib
import logging

import torch
from torch import nn

from lisa_ros.segmentation.errors import LisaError

CPU_INPUT_MULTIPLE, CPU_OUTPUT_MULTIPLE = 64, 32
"""bitsandbytes' NF4 matrix products on a CPU need widths that are multiples of these."""


def quantize_linears(module: nn.Module, quantization: str, compute_dtype: torch.dtype, device: torch.device) -> None:
    """Replaces every nn.Linear inside `module` by an empty quantized one on the meta device, in place.

    Args:
        module: built on the meta device, weights not loaded.
        quantization: "8bit" or "4bit"; "none" and "auto" do nothing.
        compute_dtype: number format of the products ("4bit"; LLM.int8() uses its input's).
        device: where the model will run.

    Raises:
        LisaError: a width that NF4 does not support on this device, or bitsandbytes is not installed.
    """
    if quantization in ("none", "auto"):
        return
    need_bitsandbytes(quantization)
    _replace_linears(module, quantization, compute_dtype, device)


def need_bitsandbytes(quantization: str) -> str:
    """Imports bitsandbytes, which takes seconds, so that only quantized models pay for it.

    Args:
        quantization: for the message.

    Returns:
        its version.

    Raises:
        LisaError: it is not installed.
    """
    # It warns in every layer and step that LLM.int8() computes in float16, and about kernels that may be downloaded.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        return str(importlib.import_module("bitsandbytes").__version__)
    except ImportError as error:
        raise LisaError(
            f"quantization {quantization} needs bitsandbytes, which is not installed here ({error}); "
            "install it (on a Jetson: build it on the device), or use none"
        ) from error


def _replace_linears(module: nn.Module, quantization: str, compute_dtype: torch.dtype, device: torch.device) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            if quantization == "4bit" and device.type == "cpu":
                _check_cpu_widths(child)
            setattr(module, name, _empty_linear(child, quantization, compute_dtype))
        else:
            _replace_linears(child, quantization, compute_dtype, device)


def _check_cpu_widths(linear: nn.Linear) -> None:
    if linear.in_features % CPU_INPUT_MULTIPLE or linear.out_features % CPU_OUTPUT_MULTIPLE:
        raise LisaError(
            f"4bit on a CPU needs layers whose inputs are a multiple of {CPU_INPUT_MULTIPLE} wide and outputs of "
            f"{CPU_OUTPUT_MULTIPLE}; this model has one of {linear.in_features} to {linear.out_features}. "
            "Use 8bit or none"
        )


def _empty_linear(linear: nn.Linear, quantization: str, compute_dtype: torch.dtype) -> nn.Module:
    from bitsandbytes.nn import Linear4bit, Linear8bitLt

    bias = linear.bias is not None
    if quantization == "8bit":
        eight: nn.Module = Linear8bitLt(
            linear.in_features, linear.out_features, bias, has_fp16_weights=False, threshold=6.0, device="meta"
        )
        return eight
    four: nn.Module = Linear4bit(
        linear.in_features, linear.out_features, bias, compute_dtype, True, "nf4", device="meta"
    )
    return four


_LAYERS = {"Linear8bitLt": "8bit", "Linear4bit": "4bit"}


def is_quantized(module: nn.Module) -> bool:
    """Whether a module is one of bitsandbytes' linear layers."""
    return type(module).__name__ in _LAYERS


def quantization_of(module: nn.Module) -> str:
    """The quantization, "8bit" or "4bit", of a layer that `is_quantized`."""
    return _LAYERS[type(module).__name__]


def linear_shapes(module: nn.Module) -> dict[str, tuple[int, int]]:
    """Name -> (out, in) of the layers inside `module` that `quantize_linears` would replace."""
    return {
        name: (child.out_features, child.in_features)
        for name, child in module.named_modules()
        if isinstance(child, nn.Linear)
    }
