# SPDX-License-Identifier: Apache-2.0
"""Models to measure: a checkpoint or random weights, with a scripted answer."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPVisionConfig, LlamaConfig

from lisa_ros.benchmark.shapes import CLIP_PREPROCESSING, CLIP_VIT_L_14, RANDOM_SHAPES, VOCABULARY, Shape
from lisa_ros.models.common.checkpoints.opening import Placement, placement
from lisa_ros.models.common.devices import choose_device
from lisa_ros.models.common.language.engine import Engine, Generation, PromptImage
from lisa_ros.models.common.language.llama import StepOutput
from lisa_ros.models.common.language.prefixes import Key
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.common.preprocessing import ClipPreprocessing
from lisa_ros.models.lisa.checkpoint import filler_for, lisa_of, load_lisa_as, ready
from lisa_ros.models.lisa.configuration import IMAGE_END_TOKEN, IMAGE_START_TOKEN, SEG_TOKEN, LisaConfig
from lisa_ros.models.lisa.decoding import Lisa
from lisa_ros.models.lisa.drafts import NoDrafts
from lisa_ros.models.lisa.network import LisaNetwork
from lisa_ros.models.lisa.tokenizer import LisaTokenizer
from lisa_ros.models.loading import embedded_checkpoint

WEIGHT_SPREAD = 0.02
WORD = 5
"""The id of every other scripted token; the cost does not depend on it."""


class ScriptedEngine(Engine):
    """An Engine that computes everything, and then reports the tokens of a script as the most likely ones.

    Attributes:
        script: the answer's ids.
    """

    script: tuple[int, ...] = ()

    def prefill(self, image: PromptImage, key: Key, inputs: torch.Tensor, head: int) -> Generation:
        """See Engine; the answer will be the script."""
        generation = super().prefill(image, key, inputs, head)
        return ScriptedGeneration(generation, self.script, len(inputs))


class ScriptedGeneration(Generation):
    """A Generation whose answer is a script."""

    def __init__(self, generation: Generation, script: Sequence[int], prompt_length: int) -> None:
        """Continues a Generation whose prompt has so many positions."""
        vars(self).update(vars(generation))
        self._script, self._prompt_length = script, prompt_length

    def extend(self, ids: Sequence[int]) -> StepOutput:
        """See Generation; the most likely tokens are the script's."""
        output = super().extend(ids)
        end = self.length - self._prompt_length + 1
        return replace(output, tokens=list(self._script[end - len(output.tokens) : end]))


class ScriptedLisa(Lisa):
    """A LISA that computes what an answer of its own costs, and answers with a script."""

    engine: ScriptedEngine
    engine_type = ScriptedEngine

    @property
    def script(self) -> tuple[int, ...]:
        """The answer's ids."""
        return self.engine.script

    def script_answer(self, tokens: int) -> None:
        """From now on each answer has this many tokens: a word, `[SEG]`, further words, and `</s>`."""
        seg, end = self.config.seg_token_id, self.tokenizer.eos_token_id
        self.engine.script = (WORD, seg, *([WORD] * (tokens - 3)), end)

    def forget(self) -> None:
        """Drops stored prefixes and drafts, as if just loaded."""
        self.engine.prefixes.clear()
        self.drafts = NoDrafts()


def load_scripted(checkpoint: Path, options: LoadOptions) -> ScriptedLisa:
    """A checkpoint folder's model, see load_lisa for errors."""
    lisa = load_lisa_as(ScriptedLisa, checkpoint, options)
    lisa.encode_objects()  # as a node has it; one answer is timed, where a node may choose from several crops
    lisa.forget()
    return lisa


class RandomTensors:
    """Random weights, made on the device, one tensor at a time."""

    folder = Path("random weights")

    def __init__(self, network: LisaNetwork, device: torch.device) -> None:
        """Takes a network on the meta device, for the names and shapes."""
        self._shapes = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
        self._device = device

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Normal ones of WEIGHT_SPREAD; one for norms, so that the states keep their size."""
        generator = torch.Generator(self._device).manual_seed(0)
        for key, shape in self._shapes.items():
            if key.endswith("norm.weight") or ("layernorm" in key and key.endswith("weight")):
                yield key, torch.ones(shape)
            else:
                yield key, WEIGHT_SPREAD * torch.randn(shape, generator=generator, device=self._device)


def random_lisa(name: str, options: LoadOptions) -> ScriptedLisa:
    """A model of one of RANDOM_SHAPES, with random weights.

    Raises:
        LisaError: an option is unknown, or the device is not there.
    """
    options.check()
    if options.quantization == "auto":
        options = dataclasses.replace(options, quantization="none")
    where = placement(f"{name}, random weights", options, choose_device(options.device))
    config = shape_configuration(RANDOM_SHAPES[name])
    network = random_network(RANDOM_SHAPES[name], config, where)
    tokenizer = LisaTokenizer(embedded_checkpoint() / "tokenizer.model", config.added_tokens)
    lisa = lisa_of(ScriptedLisa, network, config, tokenizer, _clip_preprocessing(), where)
    lisa.forget()
    return lisa


def random_network(shape: Shape, config: LisaConfig, where: Placement) -> LisaNetwork:
    """Built as load_network builds one, from RandomTensors."""
    with torch.device("meta"):
        network = LisaNetwork(config, CLIPVisionConfig(**CLIP_VIT_L_14), shape.sam)
    tensors = RandomTensors(network, where.device)
    filler_for(network, where).fill(tensors, lambda key: key)
    return ready(network, config, where)


def shape_configuration(shape: Shape) -> LisaConfig:
    """The description of a checkpoint of these sizes."""
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
