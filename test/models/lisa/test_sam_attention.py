# SPDX-License-Identifier: Apache-2.0
"""SAM's encoder with fused attention against segment-anything's own, with the same weights."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest
import torch
from segment_anything.modeling import ImageEncoderViT
from torch import nn

from lisa_ros.models.lisa.sam import attention as sam_attention
from lisa_ros.models.lisa.sam.attention import fuse
from lisa_ros.models.lisa.sam.network import Float32Neck
from lisa_ros.training.loop.attention import lighten

GRID, PATCH = 10, 8
WINDOWS = {"padded windows": 4, "whole windows": 5, "windows larger than the image": 14, "no windows": 0}


def theirs(window: int = 4, qkv_bias: bool = True) -> Any:
    """segment-anything's encoder with weights that make every part of it matter."""
    torch.manual_seed(0)
    encoder = ImageEncoderViT(
        img_size=GRID * PATCH,
        patch_size=PATCH,
        embed_dim=48,
        depth=3,
        num_heads=3,
        out_chans=16,
        qkv_bias=qkv_bias,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=window,
        global_attn_indexes=(1,),
    )
    for name, weight in encoder.named_parameters():
        if "rel_pos" in name or name == "pos_embed":
            nn.init.normal_(weight, std=0.5)
        elif "qkv" in name:
            nn.init.normal_(weight, std=0.3)
    return encoder.eval()


def fused(encoder: Any) -> Any:
    ours = copy.deepcopy(encoder)
    fuse(ours)
    return ours


def pixels(batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 3, GRID * PATCH, GRID * PATCH, generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=["at once", "head by head", "row by row"])
def piece(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, head, row = 1 << 30, 4 * GRID**4, 4 * GRID**3
    room = {"at once": whole, "head by head": head, "row by row": 3 * row}[request.param]
    monkeypatch.setitem(sam_attention.BIAS_BYTES, "cpu", room)


@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS.keys())
@torch.inference_mode()
def test_the_same_features(window: int, piece: None) -> None:
    encoder = theirs(window)
    expected = encoder(pixels())
    assert expected.std() > 0.5
    torch.testing.assert_close(fused(encoder)(pixels()), expected, rtol=0.0, atol=2e-5)


@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS.keys())
@torch.inference_mode()
def test_each_block_does_the_same(window: int) -> None:
    encoder = theirs(window)
    x = torch.randn(2, GRID, GRID, 48)
    for block, ours in zip(encoder.blocks, fused(encoder).blocks, strict=True):
        assert ours.window_size == block.window_size
        torch.testing.assert_close(ours(x), block(x), rtol=0.0, atol=1e-5)


@torch.inference_mode()
def test_without_a_bias_padded_patches_are_zeros() -> None:
    encoder = theirs(qkv_bias=False)
    torch.testing.assert_close(fused(encoder)(pixels()), encoder(pixels()), rtol=0.0, atol=2e-5)


@torch.inference_mode()
def test_changed_weights_take_effect() -> None:
    encoder = theirs()
    ours = fused(encoder)
    before = ours(pixels())
    for network in (encoder, ours):
        for block in network.blocks:
            block.attn.rel_pos_h.mul_(-1.0)
    assert not torch.allclose(ours(pixels()), before, atol=0.1)
    torch.testing.assert_close(ours(pixels()), encoder(pixels()), rtol=0.0, atol=2e-5)


@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS.keys())
def test_the_same_gradients(window: int) -> None:
    encoder = theirs(window).double()
    ours = fused(encoder)
    aim = torch.randn(2, 16, GRID, GRID).double()
    for network in (encoder, ours):
        ((network(pixels().double()) - aim) ** 2).mean().backward()
    expected = {name: weight.grad for name, weight in encoder.named_parameters()}
    for name, weight in ours.named_parameters():
        assert weight.grad is not None and weight.grad.abs().max() > 0, name
        torch.testing.assert_close(weight.grad, expected[name], rtol=1e-6, atol=1e-9, msg=name)


def test_gradients_where_the_relative_positions_are_frozen() -> None:
    ours, plain = fused(theirs()), theirs()
    lighten(ours)
    for block in plain.blocks:
        if block.window_size == 0:
            nn.init.zeros_(block.attn.rel_pos_h)
            nn.init.zeros_(block.attn.rel_pos_w)
    for network in (plain, ours):
        network(pixels()).square().mean().backward()
    torch.testing.assert_close(ours.patch_embed.proj.weight.grad, plain.patch_embed.proj.weight.grad)
    torch.testing.assert_close(ours.blocks[0].attn.rel_pos_w.grad, plain.blocks[0].attn.rel_pos_w.grad)
    assert ours.blocks[1].attn.rel_pos_w.grad is None


def test_the_same_keys() -> None:
    encoder = theirs()
    ours = fused(encoder)
    assert list(ours.state_dict()) == list(encoder.state_dict())
    assert all(torch.equal(ours.state_dict()[key], tensor) for key, tensor in encoder.state_dict().items())


def difference(features: torch.Tensor, expected: torch.Tensor) -> float:
    return float((features.float() - expected).abs().mean())


@torch.inference_mode()
def test_bf16_is_as_near_as_theirs() -> None:
    encoder = theirs()
    expected = encoder(pixels())
    half = copy.deepcopy(encoder).bfloat16()
    theirs_off = difference(half(pixels().bfloat16()), expected)
    ours_off = difference(fused(half)(pixels().bfloat16()), expected)
    assert 0.0 < ours_off < 1.2 * theirs_off


@torch.inference_mode()
def test_bf16_by_autocast_is_as_near_as_theirs() -> None:
    encoder = theirs()
    expected = encoder(pixels())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        theirs_off = difference(encoder(pixels()), expected)
        ours_off = difference(fused(encoder)(pixels()), expected)
    assert 0.0 < ours_off < 1.2 * theirs_off


@torch.inference_mode()
def test_fp16_with_a_neck_that_would_overflow() -> None:
    encoder = theirs()
    encoder.neck[0].weight.mul_(1e5)  # the released weights' neck goes beyond fp16's 65504 too
    expected = encoder(pixels())
    half = fused(encoder).half()
    assert not half(pixels().half()).isfinite().all()
    half.neck = Float32Neck(copy.deepcopy(encoder.neck))
    features = half(pixels().half())
    assert features.dtype == torch.float32
    torch.testing.assert_close(features, expected, rtol=0.0, atol=0.05)
