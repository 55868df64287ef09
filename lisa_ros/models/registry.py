# SPDX-License-Identifier: Apache-2.0
"""The models: ours, and those that installed packages bring with an entry point. Imports no torch.

A package of somebody else declares an entry point of the group `lisa_ros.models` that names a `ModelDescription`;
docs/own_models.md has an example. Nothing else has to be changed: node, command line and Python find the model by its
checkpoint's config.json.
"""

from __future__ import annotations

import functools
import importlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, cast

from lisa_ros.models.common.options import LoadOptions
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.interface import Capabilities, Segmenter
from lisa_ros.segmentation.text import detail_of

ENTRY_POINT_GROUP = "lisa_ros.models"

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelDescription:
    """What is known of a model before it is loaded.

    Attributes:
        name: short and unique, for example "lisa".
        title: for people, for example "LISA".
        module: the module with `load(folder: Path, options: LoadOptions | None) -> Segmenter`; imported when a
            checkpoint of the model is loaded. A name that begins with "." is one of `lisa_ros.models`.
        matches: whether an object from a checkpoint's config.json is this model's.
        kind: the kind of network, in a few words.
        weights: released checkpoints, by hub id.
        licence: of these weights.
        memory: GPU memory, and whether it was computed or measured.
        explanation: whether answers have text.
        dialogue: whether earlier turns are part of the prompt.
        several: whether an answer can have several objects.
        references: whether a command can refer to the masks of earlier turns.
        instances: whether each instance of a named kind is an object with a score of its own.
        converts: whether `lisa convert` can write its checkpoints; the package then has a module `conversion`.
        options: options of the model's own (`--model-option NAME=VALUE`) -> what each does.
    """

    name: str
    title: str
    module: str
    matches: Callable[[dict[str, Any]], bool]
    kind: str = ""
    weights: tuple[str, ...] = ()
    licence: str = ""
    memory: str = ""
    explanation: bool = False
    dialogue: bool = False
    several: bool = False
    references: bool = False
    instances: bool = False
    converts: bool = False
    options: Mapping[str, str] = field(default_factory=dict)

    def load(self, folder: Path, options: LoadOptions | None) -> Segmenter:
        """Load a checkpoint of this model. Imports torch and transformers, which takes seconds.

        Raises:
            LisaError: The checkpoint or an option cannot be used, or the model of another package is broken.
        """
        if self.module.startswith("."):
            segmenter: Segmenter = importlib.import_module(self.module, "lisa_ros.models").load(folder, options)
            return segmenter
        try:
            loaded = importlib.import_module(self.module).load(folder, options)
            wrong = _what_is_wrong(loaded)
        except LisaError:
            raise
        except (Exception, SystemExit) as error:  # whatever a package of somebody else raises
            reason = detail_of(f"{type(error).__name__}: {error}")
            raise LisaError(f"The model {self.name!r} ({self.module}) cannot load {folder}: {reason}") from error
        if wrong:
            raise LisaError(f"The model {self.name!r} ({self.module}) loads {wrong}; see docs/own_models.md")
        return cast(Segmenter, loaded)

    def check_options(self, options: LoadOptions) -> None:
        """Raise a LisaError for an option that this model does not have."""
        options.check_for(self.name, self.title)
        for name in options.own_options():
            if name not in self.options:
                known = f"its options are {', '.join(self.options)}" if self.options else "it has no options of its own"
                raise LisaError(f"{self.title} has no option {name!r}; {known}")


OURS: tuple[ModelDescription, ...] = (
    ModelDescription(
        "segllm",
        "SegLLM",
        ".segllm.segmenter",
        lambda config: "segmentator" in config,
        kind="LLaMA, CLIP and HIPIE",
        weights=("from its authors (berkeley-hipie/segllm)",),
        licence="none stated",
        memory="like LISA of the same size",
        dialogue=True,
        references=True,
        converts=True,
    ),
    ModelDescription(
        "lira",
        "LIRA",
        ".lira.segmenter",
        lambda config: config.get("model_type") == "lira",
        kind="InternLM, InternViT and OMG-Seg",
        weights=("echo840/LIRA",),
        licence="OMG-Seg's part is non-commercial",
        memory="not computed",
        explanation=True,
        dialogue=True,
        several=True,
        converts=True,
    ),
    ModelDescription(
        "pointing",
        "pointing model",
        ".pointing.segmenter",
        lambda config: config.get("model_type") in ("qwen2_5_vl", "qwen2_vl", "qwen3_vl"),
        kind="Qwen2.5-VL and SAM 2",
        weights=("Ricky06662/VisionReasoner-7B", "Ricky06662/Seg-Zero-7B", "geshang/Seg-R1-7B"),
        licence="see each card; Qwen2.5-VL's and SAM 2's terms apply",
        memory="not measured",
        explanation=True,
        dialogue=True,
        several=True,
        options={
            "prompt": "auto (by the folder's name), vision_reasoner, seg_zero, seg_r1, qwen or qwen_relative",
            "sam2": "folder or hub id of SAM 2 (default facebook/sam2.1-hiera-large)",
        },
    ),
    ModelDescription(
        "sam3",
        "SAM 3",
        ".sam3.segmenter",
        lambda config: config.get("model_type") in ("sam3", "sam3_video"),
        kind="SAM 3",
        weights=("facebook/sam3",),
        licence="SAM License",
        memory="not measured",
        several=True,
        instances=True,
        options={"threshold": "least score of an instance, 0 to 1 (default 0.5)"},
    ),
    ModelDescription(
        "lisa",
        "LISA",
        ".lisa.segmenter",
        lambda config: True,
        kind="LLaMA, CLIP and SAM",
        weights=("xinlai/LISA-7B-v1", "xinlai/LISA-13B-llama2-v1", "each also as -explanatory"),
        licence="LLaMA's; SAM's and CLIP's terms apply",
        memory="7B 5.8 GB, 13B 9.2 GB in 4 bit (computed)",
        explanation=True,
        dialogue=True,
        several=True,
        converts=True,
        options={
            "region": "objects (the default: the region around them, where the checkpoint can find it) or whole",
            "crops": "1 to 5: where an answer is not certain, so many crops of the image are asked at most (default 5)",
        },
    ),
)
"""Our models. The first whose `matches` is true counts; LISA is last, since its loader has the clearest errors."""


@dataclass(frozen=True)
class Registry:
    """All models that are installed.

    Attributes:
        models: in the order in which they are tried; LISA is the last.
        broken: one sentence for each entry point that cannot be used.
    """

    models: tuple[ModelDescription, ...]
    broken: tuple[str, ...] = ()

    def model_of(self, config: dict[str, Any]) -> ModelDescription:
        """The model that a checkpoint's config.json names."""
        return next(model for model in self.models if _matches(model, config))

    def named(self, name: str) -> ModelDescription:
        """The model of this name.

        Raises:
            LisaError: there is none; the text names those that are.
        """
        for model in self.models:
            if model.name == name:
                return model
        raise LisaError(f"there is no model {name!r}; there are {', '.join(model.name for model in self.models)}")


@functools.cache
def registry() -> Registry:
    """Our models and those of installed packages. A package that cannot be imported is left out; the node logs it."""
    return read_registry(tuple(metadata.entry_points(group=ENTRY_POINT_GROUP)))


def read_registry(entry_points: Sequence[metadata.EntryPoint]) -> Registry:
    """Our models and those that entry points name."""
    theirs: list[ModelDescription] = []
    broken: list[str] = []
    for entry in entry_points:
        try:
            theirs.append(_described(entry, [*OURS, *theirs]))
        except (Exception, SystemExit) as error:  # whatever a package of somebody else raises when it is imported
            broken.append(
                detail_of(f"The model {entry.name!r} of the entry point {entry.value!r} is left out: {error}")
            )
    *ours, lisa = OURS
    return Registry((*ours, *theirs, lisa), tuple(broken))


def _what_is_wrong(loaded: Any) -> str:
    """Why something is no Segmenter; empty: it is one."""
    kind = f"a value of type {type(loaded).__name__}"
    lacking = [name for name in ("encode", "session", "memory", "release") if not callable(getattr(loaded, name, None))]
    if lacking:
        return f"{kind}, which has no {', '.join(lacking)}"
    for name, wanted in (("name", str), ("capabilities", Capabilities)):
        found = getattr(loaded, name, None)
        if not isinstance(found, wanted):
            return f"{kind}, whose {name} is of type {type(found).__name__} instead of {wanted.__name__}"
    return ""


def _described(entry: metadata.EntryPoint, known: Sequence[ModelDescription]) -> ModelDescription:
    model = entry.load()
    if not isinstance(model, ModelDescription):
        raise TypeError(f"it is a {type(model).__name__}; a lisa_ros.models.registry.ModelDescription is expected")
    if model.name in [other.name for other in known]:
        raise ValueError(f"there is already a model of the name {model.name!r}")
    return model


def _matches(model: ModelDescription, config: dict[str, Any]) -> bool:
    try:
        return bool(model.matches(config))
    except Exception as error:  # a model of somebody else must not keep the others from being loaded
        _LOG.warning("%s cannot tell whether a checkpoint is its own: %s", model.title, detail_of(str(error)))
        return False
