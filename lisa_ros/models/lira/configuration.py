# SPDX-License-Identifier: Apache-2.0
"""Reads and checks the config.json of a converted LIRA folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from transformers import InternVLVisionConfig, LlamaConfig

from lisa_ros.models.common.checkpoints.configuration import (
    check_added_tokens,
    check_folder,
    converted_quantization,
    language_sizes,
    positive,
)
from lisa_ros.models.common.checkpoints.llava_configuration import parse_config
from lisa_ros.models.common.config_file import read_json
from lisa_ros.models.common.errors import CheckpointError

MODEL_TYPE = "lira"
"""`model_type` in the config.json of a converted folder."""

SEG_TOKEN, PHRASE_TOKEN, PHRASE_END_TOKEN, LOCAL_TOKEN = "[SEG]", "<p>", "</p>", "<image_id>"
LIRA_TOKENS = (SEG_TOKEN, PHRASE_TOKEN, PHRASE_END_TOKEN, "<region>", "<mark>", LOCAL_TOKEN)
"""Added to InternVL2's tokenizer, in this order (LIRA, lira.py, `_add_special_tokens`)."""

TURN_TOKEN, TURN_END_TOKEN = "<|im_start|>", "<|im_end|>"
"""InternVL2's marks around a message."""

_Sizes = TypeVar("_Sizes", "OmgSizes", "SefeSizes")


@dataclass(frozen=True)
class OmgSizes:
    """The sizes of OMG-Seg's network; those of the released one are in brackets.

    Attributes:
        image_size: side of its square input, pixels [1024]; a multiple of 64.
        stage_widths, stage_depths: ConvNeXt's four stages [192, 384, 768, 1536 and 3, 3, 27, 3].
        width: of queries, memories and mask features [256].
        heads: of both decoders' attention [8].
        encoder_layers, encoder_ffn: the pixel decoder's [6, 1024].
        decoder_layers, decoder_ffn: the mask decoder's [9, 2048].
        queries: of the panoptic pass [300].
        classes, prototypes, text_width: the class embeddings' shape [133, ?, 768].
    """

    image_size: int
    stage_widths: tuple[int, int, int, int]
    stage_depths: tuple[int, int, int, int]
    width: int
    heads: int
    encoder_layers: int
    encoder_ffn: int
    decoder_layers: int
    decoder_ffn: int
    queries: int
    classes: int
    prototypes: int
    text_width: int

    @property
    def pixel_tokens(self) -> int:
        """Side of the grid of the language model's pixel tokens: one for 64 x 64 pixels."""
        return self.image_size // 64

    @property
    def pixel_width(self) -> int:
        """Width of a pixel token before the projector: 2 x 2 cells of the last stage, and a query's two halves."""
        return 4 * self.stage_widths[-1] + 2 * self.width


@dataclass(frozen=True)
class SefeSizes:
    """The sizes of the projector.

    Attributes:
        hidden: inner width of the object tokens [6144].
        heads: of its attention [32].
        text2vision: width inside the projection of a `[SEG]` [512].
    """

    hidden: int
    heads: int
    text2vision: int


@dataclass(frozen=True)
class LiraConfig:
    """The description of a converted LIRA folder.

    Attributes:
        language: the language model's configuration, InternLM2 in LLaMA's layout.
        vision: InternViT's.
        omg, sefe: the sizes of the other parts.
        added_tokens: token text -> id.
        stored: one of CONVERTED_TO, the quantization of the language model's linear layers in the files.
    """

    language: LlamaConfig
    vision: InternVLVisionConfig
    omg: OmgSizes
    sefe: SefeSizes
    added_tokens: dict[str, int]
    stored: str

    @property
    def tile(self) -> int:
        """Side of InternViT's square input, pixels."""
        return _side(self.vision.image_size)

    @property
    def local_positions(self) -> int:
        """Positions of a close-up view: one for 2 x 2 patches of a tile, 256 in the released sizes."""
        return int((self.tile // _side(self.vision.patch_size) // 2) ** 2)

    @property
    def seg_token_id(self) -> int:
        """The id of `[SEG]`."""
        return self.added_tokens[SEG_TOKEN]


def read_configuration(folder: Path) -> LiraConfig:
    """Reads config.json of a folder that `lisa convert` made of LIRA's released pieces.

    Raises:
        CheckpointError: the file or a field is missing or has a value that LIRA does not have.
    """
    check_folder(folder, "a converted LIRA")
    raw = read_json(folder / "config.json")
    quantization = converted_quantization(raw, folder)
    if raw.get("model_type") != MODEL_TYPE or quantization is None:
        raise CheckpointError(f"{folder}/config.json is not one that `lisa convert` has written for LIRA")
    return configuration_of(raw, folder, quantization)


def configuration_of(raw: Mapping[str, Any], folder: Path, stored: str) -> LiraConfig:
    """The configuration that config.json's entries describe. See read_configuration for errors."""
    config = parse_config(folder, "LIRA", partial(_parse, stored), dict(raw))
    check_added_tokens(config.added_tokens, f"{folder}/config.json")
    _check(config, folder)
    return config


def _parse(stored: str, raw: dict[str, Any]) -> LiraConfig:
    return LiraConfig(
        language=_language(raw["language"]),
        vision=InternVLVisionConfig(**raw["vision"]),
        omg=_sizes(OmgSizes, raw["omg"]),
        sefe=_sizes(SefeSizes, raw["sefe"]),
        added_tokens={str(text): int(number) for text, number in raw["added_tokens"].items()},
        stored=stored,
    )


def sizes_for_json(sizes: OmgSizes | SefeSizes) -> dict[str, Any]:
    """Sizes as they are written to config.json."""
    return asdict(sizes)


def _sizes(kind: type[_Sizes], raw: Mapping[str, Any]) -> _Sizes:
    given = {one.name: raw[one.name] for one in fields(kind)}
    numbers: dict[str, Any] = {name: _number(value) for name, value in given.items()}
    return kind(**numbers)


def _number(value: Any) -> int | tuple[int, ...]:
    return tuple(map(int, value)) if isinstance(value, (list, tuple)) else int(value)


def _language(raw: Mapping[str, Any]) -> LlamaConfig:
    # InternLM2's dynamic scaling applies only beyond max_position_embeddings, which no prompt reaches.
    rope = {"rope_type": "default", "rope_theta": positive("rope_theta", raw["rope_theta"])}
    return LlamaConfig(**language_sizes(raw), rope_parameters=rope, tie_word_embeddings=False)


def _side(size: Any) -> int:
    """The side of a square that transformers stores as (height, width)."""
    return int(size[0])


def _check(config: LiraConfig, folder: Path) -> None:
    """Raises a CheckpointError for sizes that no network can have, and for missing tokens."""
    needed = (*LIRA_TOKENS, TURN_TOKEN, TURN_END_TOKEN)
    faults = [f"added_tokens lacks {token}" for token in needed if token not in config.added_tokens]
    rows = config.language.vocab_size
    faults += [f"{text} is {number} of {rows}" for text, number in config.added_tokens.items() if number >= rows]
    if config.omg.image_size % 64:
        faults.append(f"omg.image_size is {config.omg.image_size}, no multiple of 64")
    if config.omg.width % config.omg.heads or config.language.hidden_size % config.sefe.heads:
        faults.append("a width is not a multiple of its heads")
    if config.tile % (2 * _side(config.vision.patch_size)):
        faults.append(f"InternViT's patches of {config.vision.patch_size} do not pair up in its image")
    if faults:
        raise CheckpointError(f"{folder}: config.json describes no LIRA: {'; '.join(faults)}")
