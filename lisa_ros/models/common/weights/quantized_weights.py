# SPDX-License-Identifier: Apache-2.0
"""One weight of a linear layer in 8 or 4 bits: plain tensors, which a file can hold, and bitsandbytes' parameters.

A layer is loaded from the same tensors whether they were quantized a moment ago or come from a file, so both are equal
to the bit. Names, after the layer's own:

* 4bit: `weight` (packed), `weight.absmax` (each block's scale, 8 bit), `weight.quant_map` (the 16 values of NF4), and
  for the quantization of the scales `weight.nested_absmax`, `weight.nested_quant_map`, `weight.nested_offset`;
* 8bit: `weight`, `SCB` (each row's largest absolute value).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from lisa_ros.models.common.weights.files import Layout
from lisa_ros.models.common.weights.layout import Shape
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.text import detail_of

BLOCK, NESTED_BLOCK = 64, 256
"""Numbers that share a scale, and scales that share a scale (QLoRA, arXiv 2305.14314, section 3)."""

Parts = Mapping[str, torch.Tensor]


def part_layouts(shape: Shape, quantization: str) -> dict[str, Layout]:
    """Type and shape of the tensors of a quantized weight.

    Args:
        shape: (out, in) of the weight.
        quantization: "8bit" or "4bit".
    """
    if quantization == "8bit":
        return {"weight": Layout(torch.int8, shape), "SCB": Layout(torch.float32, shape[:1])}
    numbers = torch.Size(shape).numel()
    blocks = -(-numbers // BLOCK)
    return {
        "weight": Layout(torch.uint8, (-(-numbers // 2), 1)),
        "weight.absmax": Layout(torch.uint8, (blocks,)),
        "weight.quant_map": Layout(torch.float32, (16,)),
        "weight.nested_absmax": Layout(torch.float32, (-(-blocks // NESTED_BLOCK),)),
        "weight.nested_quant_map": Layout(torch.float32, (256,)),
        "weight.nested_offset": Layout(torch.float32, ()),
    }


def quantize_weight(weight: torch.Tensor, quantization: str, device: torch.device) -> dict[str, torch.Tensor]:
    """Quantizes a weight.

    Args:
        weight: (out, in), any float type.
        quantization: "8bit" or "4bit".
        device: where it is computed. A GPU's sums may differ from a CPU's in the last bit; a CPU's do not depend on the
            number of its threads.

    Returns:
        tensors on the device, see `part_layouts`.

    Raises:
        LisaError: bitsandbytes does not work on the device, as its wheels for servers do on a Jetson Orin.
    """
    half = weight.detach().to(torch.float16).contiguous().to(device)
    try:
        return _eight_bit(half) if quantization == "8bit" else _four_bit(half)
    except torch.cuda.OutOfMemoryError:
        raise
    except (RuntimeError, NotImplementedError, AttributeError, OSError) as error:
        reason = detail_of(f"{type(error).__name__}: {error}")
        raise LisaError(
            f"bitsandbytes cannot quantize to {quantization} on {device.type} ({reason}); on a Jetson, build it on the "
            "device, or use quantization none"
        ) from error


def _eight_bit(half: torch.Tensor) -> dict[str, torch.Tensor]:
    from bitsandbytes.functional import int8_vectorwise_quant

    numbers, scales, _ = int8_vectorwise_quant(half)
    return {"weight": numbers, "SCB": scales}


def _four_bit(half: torch.Tensor) -> dict[str, torch.Tensor]:
    """As bitsandbytes' quantize_4bit with compress_statistics, whose mean depends on the number of threads."""
    from bitsandbytes.functional import quantize_4bit, quantize_blockwise

    packed, state = quantize_4bit(half, blocksize=BLOCK, compress_statistics=False, quant_type="nf4")
    with _one_thread():
        offset = state.absmax.mean()
    scales, nested = quantize_blockwise(state.absmax - offset, blocksize=NESTED_BLOCK)
    return {
        "weight": packed,
        "weight.absmax": scales,
        "weight.quant_map": state.code,
        "weight.nested_absmax": nested.absmax,
        "weight.nested_quant_map": nested.code,
        "weight.nested_offset": offset,
    }


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def place_weight(module: Any, parts: Parts, device: torch.device) -> None:
    """Gives a layer made by `quantize_linears` its weight.

    Args:
        module: Linear4bit or Linear8bitLt.
        parts: see `part_layouts`; not copied where they are on the device already.
        device: where the weight goes.
    """
    from bitsandbytes.nn import Int8Params, Params4bit

    if type(module).__name__ == "Linear8bitLt":
        numbers = parts["weight"].to(device)
        module.weight = Int8Params(
            numbers, requires_grad=False, has_fp16_weights=False, CB=numbers, SCB=parts["SCB"].to(device)
        )
        return
    statistics = {
        **{name.removeprefix("weight."): part for name, part in parts.items() if name != "weight"},
        "quant_type": "nf4",
        "blocksize": BLOCK,
        "dtype": "float16",
        "shape": (module.out_features, module.in_features),
        "nested_blocksize": NESTED_BLOCK,
        "nested_dtype": "float32",
    }
    module.weight = Params4bit.from_prequantized(parts["weight"], statistics, device=device, module=module)
