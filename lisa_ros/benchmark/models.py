# SPDX-License-Identifier: Apache-2.0
"""Models to measure: a checkpoint or random weights, with an answer that the measurement says."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPVisionConfig, LlamaConfig

from lisa_ros.benchmark.shapes import CLIP_PREPROCESSING, CLIP_VIT_L_14, RANDOM_SHAPES, VOCABULARY, Shape
from lisa_ros.models.common.devices import choose_device, choose_dtype
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.common.preprocessing import ClipPreprocessing
from lisa_ros.models.common.weights.filling import Filler
from lisa_ros.models.common.weights.quantization import quantize_linears
from lisa_ros.models.lisa.checkpoint import dtype_of, fill_buffers, load_lisa
from lisa_ros.models.lisa.configuration import IMAGE_END_TOKEN, IMAGE_START_TOKEN, SEG_TOKEN, LisaConfig
from lisa_ros.models.lisa.decoding import Lisa
from lisa_ros.models.lisa.drafts import Drafts
from lisa_ros.models.lisa.network import LisaNetwork
from lisa_ros.models.lisa.prompt import TEMPLATES
from lisa_ros.models.lisa.sam.network import Float32Neck
from lisa_ros.models.lisa.tokenizer import LisaTokenizer
from lisa_ros.models.loading import embedded_checkpoint

WEIGHT_SPREAD = 0.02
WORD = 5
"""The id of every scripted word; which one it is costs the same."""


class NoDrafts(Drafts):
    """Guesses nothing, so that every token is a step of its own."""

    def __init__(self) -> None:
        super().__init__([])

    def remember(self, ids: Sequence[int]) -> None:
        """Forgets it."""


class ScriptedLisa(Lisa):
    """A LISA that computes all that it would, and then says what the measurement wants.

    Attributes:
        script: the answer's ids.
    """

    script: tuple[int, ...] = ()

    def heed(self, likeliest: list[int], said: Sequence[int]) -> list[int]:
        """The script's ids in place of the likeliest."""
        return list(self.script[len(said) : len(said) + len(likeliest)])

    def say(self, tokens: int) -> None:
        """From now on answers are a word, `[SEG]`, and words up to so many tokens, `</s>` the last."""
        seg, end = self.config.seg_token_id, self.tokenizer.eos_token_id
        self.script = (WORD, seg, *([WORD] * (tokens - 3)), end)

    def forget(self) -> None:
        """As if just loaded: nothing read, nothing said."""
        self.reader.prefixes.clear()
        self.drafts = NoDrafts()


def scripted(lisa: Lisa) -> ScriptedLisa:
    """The same model, told what to say."""
    told = ScriptedLisa(lisa.network, lisa.config, lisa.tokenizer, lisa.template, lisa.clip, lisa.name)
    told.forget()
    return told


def load_scripted(checkpoint: Path, options: LoadOptions) -> ScriptedLisa:
    """A checkpoint folder's model, see load_lisa for errors."""
    return scripted(load_lisa(checkpoint, options))


class RandomTensors:
    """Weights that nobody learned, made where they are wanted, one at a time."""

    folder = Path("random weights")

    def __init__(self, network: LisaNetwork, device: torch.device) -> None:
        """Takes a network on the meta device, for the names and shapes."""
        self._shapes = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
        self._device = device

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Normal ones of WEIGHT_SPREAD; one for norms, so that the states keep their size."""
        chance = torch.Generator(self._device).manual_seed(0)
        for key, shape in self._shapes.items():
            if key.endswith("norm.weight") or ("layernorm" in key and key.endswith("weight")):
                yield key, torch.ones(shape)
            else:
                yield key, WEIGHT_SPREAD * torch.randn(shape, generator=chance, device=self._device)


def random_lisa(name: str, options: LoadOptions) -> ScriptedLisa:
    """A model of one of RANDOM_SHAPES, with random weights.

    Raises:
        ValueError: an option is not one of the known ones, or the device is not there.
    """
    options.check()
    if options.quantization == "auto":
        options = dataclasses.replace(options, quantization="none")
    device = choose_device(options.device)
    dtype = choose_dtype(options, device)
    config = _configuration(RANDOM_SHAPES[name])
    network = random_network(RANDOM_SHAPES[name], config, options.quantization, dtype, device)
    tokenizer = LisaTokenizer(embedded_checkpoint() / "tokenizer.model", config.added_tokens)
    told = f"{name}, random weights ({str(dtype).removeprefix('torch.')}, {options.quantization}, {device})"
    return scripted(Lisa(network, config, tokenizer, TEMPLATES[options.template], _clip_preprocessing(), told))


def random_network(
    shape: Shape, config: LisaConfig, quantization: str, dtype: torch.dtype, device: torch.device
) -> LisaNetwork:
    """Built as load_network builds one, from RandomTensors."""
    with torch.device("meta"):
        network = LisaNetwork(config, CLIPVisionConfig(**CLIP_VIT_L_14), shape.sam)
    tensors = RandomTensors(network, device)
    quantize_linears(network.language, quantization, dtype, device)
    Filler(network, dtype, device, dtype_of=partial(dtype_of, dtype)).fill(tensors, lambda key: key)
    fill_buffers(network, config, device)
    if dtype == torch.float16:
        network.visual_model.image_encoder.neck = Float32Neck(network.visual_model.image_encoder.neck)
    return network.eval().requires_grad_(False)


def _configuration(shape: Shape) -> LisaConfig:
    return LisaConfig(
        language=LlamaConfig(**shape.language(VOCABULARY), bos_token_id=1, eos_token_id=2, pad_token_id=0),
        vision_tower="",
        vision_width=int(CLIP_VIT_L_14["hidden_size"]),
        select_layer=-2,
        wrap_image=True,
        out_dim=shape.sam.prompt_width,
        added_tokens={SEG_TOKEN: 32_000, IMAGE_START_TOKEN: 32_001, IMAGE_END_TOKEN: 32_002},
    )


def _clip_preprocessing() -> ClipPreprocessing:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "preprocessor_config.json"
        path.write_text(json.dumps(CLIP_PREPROCESSING), encoding="utf-8")
        return ClipPreprocessing(Path(folder))


def describe(options: LoadOptions) -> dict[str, Any]:
    """Load options for the report."""
    return dataclasses.asdict(options)
