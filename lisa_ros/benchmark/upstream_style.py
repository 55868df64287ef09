# SPDX-License-Identifier: Apache-2.0
"""The public implementation's way of computing, with the same weights: what `lisa benchmark --against` compares with.

Upstream's generate() runs without a KV cache: for every token CLIP encodes the image and LLaMA computes the whole
dialogue again, with the output layer at every position. SAM's encoder runs once, after the text, through
segment-anything's own forward, and the masks come last (LISA.py, evaluate).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lisa_ros.benchmark.models import ScriptedLisa
from lisa_ros.models.lisa.sam.network import build_encoder, read_sizes
from lisa_ros.models.lisa.sam.pixels import sam_pixels


@dataclass(frozen=True)
class UpstreamAnswer:
    """Times and mask of one answer.

    Attributes:
        tokens_s: seconds of each token.
        sam_s: seconds of SAM's encoder.
        total_s: seconds to the end, masks included.
        logits: (H, W) float32 of the first mask.
    """

    tokens_s: tuple[float, ...]
    sam_s: float
    total_s: float
    logits: NDArray[np.float32]


def answer_as_upstream(lisa: ScriptedLisa, image: NDArray[np.uint8], command: str) -> UpstreamAnswer:
    """Answers with the script, computing as upstream does.

    Args:
        lisa: with a script that has a `[SEG]`.
        image: RGB uint8 (H, W, 3).
        command: what the operator typed.
    """
    encoder = plain_encoder(lisa)
    began = time.perf_counter()
    prompt = torch.tensor(lisa.prompt_ids(command), device=lisa.network.device)
    script = torch.tensor(lisa.script, device=lisa.network.device)
    tokens_s = []
    with torch.inference_mode():
        clip_pixels = lisa.clip(image)
        for position in range(len(script)):
            start = time.perf_counter()
            states = _read_all(lisa, torch.cat([prompt, script[:position]]), clip_pixels)
            tokens_s.append(time.perf_counter() - start)
        seg = lisa.script.index(lisa.config.seg_token_id)
        start = time.perf_counter()
        pixels, resized = sam_pixels(image, lisa.network.image_size)
        features = plain_sam_features(encoder, pixels)
        sam_s = time.perf_counter() - start
        state = states[len(states) - len(script) + seg].unsqueeze(0)
        height, width = image.shape[:2]
        logits = lisa.network.upsample(lisa.network.mask_logits(state, features), resized, (height, width))
        mask: NDArray[np.float32] = logits[0].cpu().numpy()
    return UpstreamAnswer(tuple(tokens_s), sam_s, time.perf_counter() - began, mask)


def _read_all(lisa: ScriptedLisa, ids: torch.Tensor, clip_pixels: torch.Tensor) -> torch.Tensor:
    """The work for one token; returns LLaMA's states (length, hidden)."""
    network = lisa.network
    visual = network.visual_tokens(clip_pixels)[0]
    inputs = network.embed(ids, visual)
    states: torch.Tensor = network.language(inputs_embeds=inputs, use_cache=False).last_hidden_state
    int(network.lm_head(states).float()[0, -1].argmax())  # waits for a GPU, as generate() does
    return states[0]


def plain_sam_features(encoder: Any, pixels: torch.Tensor) -> torch.Tensor:
    """The forward pass of plain_encoder: (1, prompt_width, grid, grid) float32."""
    weight = encoder.patch_embed.proj.weight
    features: torch.Tensor = encoder(pixels.to(weight.device, weight.dtype))
    out = features.float()
    if out.is_cuda:
        torch.cuda.synchronize()
    return out


def plain_encoder(lisa: ScriptedLisa) -> Any:
    """segment-anything's encoder with the model's own weights, not a copy."""
    sam = lisa.network.visual_model
    shapes = {key: tuple(weight.shape) for key, weight in sam.state_dict().items()}
    with torch.device("meta"):
        plain: Any = build_encoder(read_sizes(shapes))
    neck = sam.image_encoder.neck  # in fp16 it is wrapped, and computes in float32
    weights = {key: weight for key, weight in sam.image_encoder.state_dict().items() if not key.startswith("neck.")}
    plain.load_state_dict(weights, strict=False, assign=True)
    plain.neck = neck
    return plain
