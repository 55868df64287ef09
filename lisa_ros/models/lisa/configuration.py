# SPDX-License-Identifier: Apache-2.0
"""Reads and checks config.json and added_tokens.json of a LISA folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from lisa_ros.models.common.checkpoints.configuration import (
    check_folder,
    converted_quantization,
    language_config,
    read_added_tokens,
    whole,
)
from lisa_ros.models.common.checkpoints.llava_configuration import LlavaConfig, parse_config
from lisa_ros.models.common.config_file import read_json
from lisa_ros.models.common.errors import CheckpointError
from lisa_ros.models.common.prompt_text import in_sentence_case, renamed, respelled
from lisa_ros.models.lisa.image.patch_classifier import OBJECT_PATCHES, PatchClassifier

SEG_TOKEN = "[SEG]"
IMAGE_START_TOKEN = "<im_start>"
IMAGE_END_TOKEN = "<im_end>"


@dataclass(frozen=True, kw_only=True)
class LisaConfig(LlavaConfig):
    """A LISA checkpoint's description of itself.

    Attributes:
        wrap_image: whether `<im_start>` and `<im_end>` stand around the image.
        out_dim: width of the `[SEG]` embedding that SAM's mask decoder is prompted with.
        point_prompts: whether SAM's decoder was trained with points and boxes; that of the released checkpoints was by
            SAM, before LISA trained it further with `[SEG]` alone. config.json of a checkpoint whose decoder was never
            so trained has `"lisa_ros_point_prompts": false`.
        most_objects: the most objects of one answer that the model was trained with, `"lisa_ros_most_objects"` of
            config.json; 0: not known.
        sentence_case: whether commands are given to the model in sentence case, `"lisa_ros_sentence_case"` of
            config.json: a model with a small vocabulary reads words in capitals as other words.
        words: all words that the model knows, in lower case, separated by spaces in `"lisa_ros_words"` of
            config.json; commands are given to it without typing errors (prompt_text.py). Empty: as they are.
        names: the names that the model knows, by other names of the same things, `"lisa_ros_names"` of config.json, an
            object of such pairs; commands are given to it with the known ones (prompt_text.py).
        object_patches: classifies which of CLIP's patches show objects, `"lisa_ros_object_patches"` of config.json: the
            model is given the region around them. None: it is given whole images.
    """

    wrap_image: bool
    out_dim: int
    point_prompts: bool = True
    most_objects: int = 0
    sentence_case: bool = False
    words: frozenset[str] = frozenset()
    names: Mapping[str, str] = field(default_factory=dict, hash=False)
    object_patches: PatchClassifier | None = None

    @property
    def seg_token_id(self) -> int:
        """The id of `[SEG]`, by name: the released checkpoints place it differently (7B: last, 13B: first)."""
        return self.added_tokens[SEG_TOKEN]

    def as_given(self, command: str) -> str:
        """A command as the model is given it: in sentence case and without typing errors, where config.json says so."""
        spelled = respelled(in_sentence_case(command) if self.sentence_case else command, self.words)
        return renamed(spelled, self.names)


def read_configuration(folder: Path) -> LisaConfig:
    """Reads config.json and added_tokens.json of a LISA folder.

    Raises:
        CheckpointError: a file or field is missing or has a value that LISA does not have.
    """
    check_folder(folder, "a LISA checkpoint")
    raw = read_json(folder / "config.json")
    _check_projector(raw, folder)
    return parse_config(folder, "LISA", partial(_parse, folder), raw)


def _parse(folder: Path, raw: dict[str, Any]) -> LisaConfig:
    wrap_image = bool(raw.get("mm_use_im_start_end", True))
    needed = [SEG_TOKEN, IMAGE_START_TOKEN, IMAGE_END_TOKEN] if wrap_image else [SEG_TOKEN]
    patches = raw.get(OBJECT_PATCHES)
    return LisaConfig(
        language=language_config(raw),
        # As upstream: vision_tower wins, mm_vision_tower may be a path on the machine it was trained on.
        vision_tower=str(raw.get("vision_tower") or raw.get("mm_vision_tower") or ""),
        vision_width=whole("mm_hidden_size", raw["mm_hidden_size"]),
        select_layer=whole("mm_vision_select_layer", raw.get("mm_vision_select_layer", -2)),
        wrap_image=wrap_image,
        out_dim=whole("out_dim", raw.get("out_dim", 256)),
        added_tokens=read_added_tokens(folder, int(raw["vocab_size"]), needed),
        point_prompts=bool(raw.get("lisa_ros_point_prompts", True)),
        most_objects=whole("lisa_ros_most_objects", raw.get("lisa_ros_most_objects", 0)),
        sentence_case=bool(raw.get("lisa_ros_sentence_case", False)),
        words=frozenset(str(raw.get("lisa_ros_words", "")).split()),
        names=_names(raw.get("lisa_ros_names", {}), folder),
        object_patches=None if patches is None else PatchClassifier.from_json(patches, int(raw["mm_hidden_size"])),
        converted=converted_quantization(raw, folder),
    )


def _names(raw: Any, folder: Path) -> dict[str, str]:
    if not isinstance(raw, dict) or not all(isinstance(known, str) for known in raw.values()):
        raise CheckpointError(
            f"{folder}/config.json: lisa_ros_names must be an object of names, each with the known one"
        )
    return {name.lower(): known for name, known in raw.items() if name}


def _check_projector(raw: dict[str, Any], folder: Path) -> None:
    kind = raw.get("mm_projector_type") or "linear"
    if kind != "linear":
        raise CheckpointError(
            f"{folder}/config.json: mm_projector_type is {kind!r}; LISA has one linear layer there "
            "(LISA++ and LLaVA-1.5 checkpoints are another model)"
        )
