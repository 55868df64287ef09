# SPDX-License-Identifier: Apache-2.0
"""What the config.json of a converted LIRA folder says, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from transformers import InternVLVisionConfig, LlamaConfig

from lisa_ros.models.common.configuration import UNFINISHED, converted_quantization, read_json
from lisa_ros.models.common.errors import CheckpointError

MODEL_TYPE = "lira"
"""`model_type` in the config.json of a converted folder."""

SEG_TOKEN, PHRASE_TOKEN, PHRASE_END_TOKEN, LOCAL_TOKEN = "[SEG]", "<p>", "</p>", "<image_id>"
LIRA_TOKENS = (SEG_TOKEN, PHRASE_TOKEN, PHRASE_END_TOKEN, "<region>", "<mark>", LOCAL_TOKEN)
"""Added behind InternVL2's tokenizer, in this order (LIRA, lira.py, `_add_special_tokens`)."""

TURN_TOKEN, TURN_END_TOKEN = "<|im_start|>", "<|im_end|>"
"""InternVL2's marks around what one side says."""

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
        """Side of the grid of pixel tokens that the language model sees: one for 64 x 64 pixels."""
        return self.image_size // 64

    @property
    def pixel_width(self) -> int:
        """Width of a pixel token before the projector: 2 x 2 cells of the last stage, and a query's two halves."""
        return 4 * self.stage_widths[-1] + 2 * self.width


@dataclass(frozen=True)
class SefeSizes:
    """The sizes of the projector.

    Attributes:
        hidden: width that object tokens are first brought to [6144].
        heads: of its attention [32].
        text2vision: width inside the projection of a `[SEG]` [512].
    """

    hidden: int
    heads: int
    text2vision: int


@dataclass(frozen=True)
class LiraConfig:
    """A converted LIRA folder's description of itself.

    Attributes:
        language: the language model's configuration, InternLM2 in LLaMA's layout.
        vision: InternViT's.
        omg, sefe: the sizes of the other parts.
        added_tokens: token text -> id.
        stored: one of CONVERTED_TO, how the language model's linear layers lie in the files.
    """

    language: LlamaConfig
    vision: InternVLVisionConfig
    omg: OmgSizes
    sefe: SefeSizes
    added_tokens: dict[str, int]
    stored: str

    @property
    def tile(self) -> int:
        """Side of the square pieces that InternViT sees, pixels."""
        return _side(self.vision.image_size)

    @property
    def local_positions(self) -> int:
        """Positions that a close look takes: one for 2 x 2 patches of a tile, 256 in the released sizes."""
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
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is not a folder; a converted LIRA is a folder with config.json in it")
    if (folder / UNFINISHED).is_file() and not (folder / "config.json").is_file():
        raise CheckpointError(f"{folder} is not whole yet: run the `lisa convert` that writes it again, it goes on")
    raw = read_json(folder / "config.json")
    quantization = converted_quantization(raw, folder)
    if raw.get("model_type") != MODEL_TYPE or quantization is None:
        raise CheckpointError(f"{folder}/config.json is not one that `lisa convert` writes for LIRA")
    return configuration_of(raw, folder, quantization)


def configuration_of(raw: Mapping[str, Any], folder: Path, stored: str) -> LiraConfig:
    """The configuration that config.json's entries describe. See read_configuration for what it raises."""
    try:
        tokens = {str(text): int(number) for text, number in raw["added_tokens"].items()}
        config = LiraConfig(
            language=_language(raw["language"]),
            vision=InternVLVisionConfig(**raw["vision"]),
            omg=_sizes(OmgSizes, raw["omg"]),
            sefe=_sizes(SefeSizes, raw["sefe"]),
            added_tokens=tokens,
            stored=stored,
        )
    except KeyError as error:
        raise CheckpointError(f"{folder}: config.json has no field {error}; LIRA's has it") from error
    except Exception as error:  # whatever transformers and Python raise for a value of another kind
        raise CheckpointError(f"{folder}: config.json has a value that no LIRA has: {error}") from error
    _check(config, folder)
    return config


def told_sizes(sizes: OmgSizes | SefeSizes) -> dict[str, Any]:
    """Sizes as config.json has them."""
    return asdict(sizes)


def _sizes(kind: type[_Sizes], raw: Mapping[str, Any]) -> _Sizes:
    given = {one.name: raw[one.name] for one in fields(kind)}
    numbers: dict[str, Any] = {name: _number(value) for name, value in given.items()}
    return kind(**numbers)


def _number(value: Any) -> int | tuple[int, ...]:
    return tuple(map(int, value)) if isinstance(value, (list, tuple)) else int(value)


def _language(raw: Mapping[str, Any]) -> LlamaConfig:
    # InternLM2's dynamic scaling sets in beyond max_position_embeddings, where nothing is read: plain rotation is it.
    rope = {"rope_type": "default", "rope_theta": float(raw["rope_theta"])}
    names = (
        "vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads "
        "max_position_embeddings rms_norm_eps"
    )
    return LlamaConfig(**{name: raw[name] for name in names.split()}, rope_parameters=rope, tie_word_embeddings=False)


def _side(size: Any) -> int:
    """Of a square whose (height, width) transformers keeps."""
    return int(size[0])


def _check(config: LiraConfig, folder: Path) -> None:
    """Raises a CheckpointError for sizes of which no network can be made, and for tokens that are not there."""
    needed = (*LIRA_TOKENS, TURN_TOKEN, TURN_END_TOKEN)
    faults = [f"added_tokens lacks {token}" for token in needed if token not in config.added_tokens]
    rows = config.language.vocab_size
    faults += [f"{text} is {number} of {rows}" for text, number in config.added_tokens.items() if number >= rows]
    if config.omg.image_size % 64:
        faults.append(f"omg.image_size is {config.omg.image_size}, no multiple of 64")
    if config.omg.width % config.omg.heads or config.language.hidden_size % config.sefe.heads:
        faults.append("a width is no multiple of its heads")
    if config.tile % (2 * _side(config.vision.patch_size)):
        faults.append(f"InternViT's patches of {config.vision.patch_size} do not pair up in its picture")
    if faults:
        raise CheckpointError(f"{folder}: config.json describes no LIRA: {'; '.join(faults)}")
