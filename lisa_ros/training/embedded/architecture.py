# SPDX-License-Identifier: Apache-2.0
"""The sizes of the embedded LISA: the released architecture, small enough to live in the repository.

Widths of LLaMA are multiples of 64, so that 4-bit quantization works on it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from transformers import CLIPVisionConfig, LlamaConfig

from lisa_ros.models.lisa.configuration import LisaConfig
from lisa_ros.models.lisa.network import LisaNetwork
from lisa_ros.models.lisa.sam.network import SamSizes
from lisa_ros.tabletop.questions.corpus import known_words
from lisa_ros.tabletop.questions.synonyms import known_names

PROMPT_WIDTH = 128

SAM = SamSizes(
    image_size=320,
    patch_size=10,
    width=128,
    depth=6,
    heads=4,
    mlp_ratio=4.0,
    window=8,
    global_blocks=(2, 5),
    prompt_width=PROMPT_WIDTH,
    mask_channels=16,
    decoder_depth=2,
    decoder_mlp=512,
    attention_downsample=2,
    mask_tokens=4,
    iou_depth=2,
    iou_width=64,
)

CLIP: dict[str, Any] = {
    "hidden_size": 160,
    "intermediate_size": 640,
    "num_hidden_layers": 7,
    "num_attention_heads": 5,
    "image_size": 192,
    "patch_size": 12,
    "num_channels": 3,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "projection_dim": 64,
}

CLIP_PREPROCESSING: dict[str, Any] = {
    # The whole 4:3 image resized to a square: the centre crop of the released CLIP would hide both sides of it.
    "image_processor_type": "CLIPImageProcessor",
    "do_convert_rgb": True,
    "do_resize": True,
    "size": {"height": 192, "width": 192},
    "resample": 3,
    "do_center_crop": False,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}

# The last of CLIP's layers, not the one before it as in the released checkpoints: every layer was trained for this.
SELECT_LAYER = -1

LANGUAGE: dict[str, Any] = {
    "hidden_size": 192,
    "intermediate_size": 512,
    "num_hidden_layers": 6,
    "num_attention_heads": 6,
    "num_key_value_heads": 6,
    "hidden_act": "silu",
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "tie_word_embeddings": False,
}


def embedded_configuration(vocab_size: int, added_tokens: dict[str, int]) -> LisaConfig:
    """The embedded LISA's configuration for a vocabulary, added tokens counted in."""
    return LisaConfig(
        language=LlamaConfig(vocab_size=vocab_size, **LANGUAGE),
        vision_tower="clip",
        vision_width=CLIP["hidden_size"],
        select_layer=SELECT_LAYER,
        wrap_image=True,
        out_dim=PROMPT_WIDTH,
        added_tokens=added_tokens,
        point_prompts=False,  # no stage gives the mask decoder points or boxes
        most_objects=2,  # no question of the recipe asks for more
        sentence_case=True,  # of questions in capitals far fewer are answered rightly
        words=frozenset(known_words()),  # and of those with a typing error
        names=known_names(),  # and few of those by words that it was not taught from the start
    )


def new_network(config: LisaConfig, seed: int) -> LisaNetwork:
    """A network with random weights, the same for the same seed.

    Matrices of the vision parts and LLaMA are drawn for their width (Glorot); SAM's blocks with windows begin as
    convolutions: each head attends to one neighbour (d'Ascoli et al., ConViT, arXiv 2103.10697, section 4).
    """
    torch.manual_seed(seed)
    network = LisaNetwork(config, CLIPVisionConfig(**CLIP), SAM)
    encoder = network.visual_model.image_encoder
    for part in (encoder, network.vision_tower, network.language):
        _init_transformer(part)
    nn.init.trunc_normal_(encoder.pos_embed, std=0.02)
    _attend_nearby(network.vision_tower)
    for block in encoder.blocks:
        if block.window_size:
            _attend_to_neighbours(block.attn)
    nn.init.normal_(network.lm_head.weight, std=0.02)
    return network


def _init_transformer(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Conv2d) and part.kernel_size == part.stride:
            nn.init.xavier_uniform_(part.weight.data.flatten(1))
        elif isinstance(part, nn.Embedding):
            nn.init.normal_(part.weight, std=0.02)


def _attend_nearby(tower: Any) -> None:
    """Sinusoids for positions, and queries and keys near the identity: patches attend to those near and alike."""
    side, width = CLIP["image_size"] // CLIP["patch_size"], CLIP["hidden_size"]
    rates = torch.exp(torch.linspace(math.log(math.pi / side), math.log(math.pi / 1.5), width // 4))
    rows, columns = (
        index.flatten()[:, None] * rates for index in torch.meshgrid(*[torch.arange(side)] * 2, indexing="ij")
    )
    waves = torch.cat([columns.sin(), columns.cos(), rows.sin(), rows.cos()], dim=1)
    with torch.no_grad():
        tower.embeddings.position_embedding.weight[1:] = 0.5 * waves
        for layer in tower.encoder.layers:
            for matrix in (layer.self_attn.q_proj.weight, layer.self_attn.k_proj.weight):
                matrix.mul_(0.3).add_(0.7 * torch.eye(width))


def _attend_to_neighbours(attention: Any) -> None:
    """Sets the relative positions and the queries' bias so that head i prefers the patch above, left, right or below.

    A head with the bias (1, -2 r, -2 c) and relative positions (-d * d, d, 0) for rows and (-d * d, 0, d) for columns
    scores -(d_row + r)^2 - (d_column + c)^2, up to a constant: the patch at (r, c) most.
    """
    width = attention.qkv.in_features
    head_width = width // attention.num_heads
    distance = torch.arange(len(attention.rel_pos_h)) - (len(attention.rel_pos_h) - 1) / 2
    neighbours = ((-1, 0), (0, -1), (0, 1), (1, 0))
    with torch.no_grad():
        for table, channel in ((attention.rel_pos_h, 1), (attention.rel_pos_w, 2)):
            table.zero_()
            table[:, 0], table[:, channel] = -(distance**2), distance
        query_bias = attention.qkv.bias[:width].view(attention.num_heads, head_width)
        key_weight = attention.qkv.weight[width : 2 * width].view(attention.num_heads, head_width, width)
        for head in range(attention.num_heads):
            row, column = neighbours[head % len(neighbours)]
            query_bias[head, :3] = torch.tensor([1.0, -2.0 * row, -2.0 * column])
            key_weight[head, :3] = 0.0  # else the bias would also prefer some contents
