# SPDX-License-Identifier: Apache-2.0
"""Options of a fine-tuning. Imports no torch.

The defaults are upstream's values (dvlab-research/LISA at 3cb2d43, train_ds.py), but for `epochs`, which upstream does
not have, and for what replay and check need.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

from lisa_ros.models.common.options import LoadOptions
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.files.arguments import LARGEST

RECOMPUTE = ("auto", "on", "off")
PRECISIONS = ("auto", "fp32", "bf16")
QUANTIZATIONS = ("auto", "none", "4bit")

AUTO, NONE = "auto", "none"
"""As a general data set: the simulated table for the embedded model, else none; none at all."""

_MOST = {"epochs": 1e6, "learning_rate": 1e3}
"""Far more than a training can use."""

REPLAY_SHARE = 0.5
CHECK_IMAGES = 64

WHOLE_PARTS: dict[str, str] = {
    "embed_tokens": "language.embed_tokens",
    "lm_head": "lm_head",
    "text_hidden_fcs": "text_hidden_fcs",
    "mask_decoder": "visual_model.mask_decoder",
}
"""Parts that are trained whole, beside the adapters: upstream's name -> LisaNetwork's module."""

LINEAR_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The linear layers of each of LLaMA's blocks: what adapters can be added to."""


@dataclass(frozen=True)
class General:
    """A general data set, as it is named on a command line.

    Attributes:
        name: "tabletop", a folder of `lisa data`, or NAME=FOLDER with a published data set's name.
        number: after the colon: of a replay its share of each batch, of a check how many images; None: the default.
    """

    name: str
    number: float | None = None

    @classmethod
    def parse(cls, text: str) -> General:
        """Reads DATASET or DATASET:NUMBER."""
        name, colon, number = text.rpartition(":")
        try:
            return cls(name, float(number)) if colon and name else cls(text)
        except ValueError:  # a colon in a path
            return cls(text)


@dataclass(frozen=True)
class LoraOptions:
    """Sizes of the adapters.

    Attributes:
        rank: of the matrices that are added; 0 adds none.
        alpha: they are scaled by alpha / rank.
        dropout: share of their inputs that a step leaves out.
        targets: names of LINEAR_LAYERS.
    """

    rank: int = 8
    alpha: int = 16
    dropout: float = 0.05
    targets: tuple[str, ...] = ("q_proj", "v_proj")

    def check(self) -> None:
        """Raises a ValueError that names the option with an invalid value."""
        if not 0 <= self.rank <= LARGEST:
            raise LisaError(f"rank is {self.rank!s:.40}; it can be 0 (no adapters) or more, at most {LARGEST}")
        if not 0 < self.alpha <= LARGEST:
            raise LisaError(f"alpha is {self.alpha!s:.40}; it has to be above 0 and at most {LARGEST}")
        if not 0 <= self.dropout < 1:
            raise LisaError(f"dropout is {self.dropout}; it can be 0 or more, but below 1")
        unknown = sorted(set(self.targets) - set(LINEAR_LAYERS))
        if self.rank and (unknown or not self.targets):
            raise LisaError(
                f"LLaMA's blocks have no linear layer {', '.join(unknown) or 'without a name'}; "
                f"targets can be {', '.join(LINEAR_LAYERS)}"
            )


def check_trained(lora: LoraOptions, whole: Collection[str]) -> None:
    """Raises a ValueError where the adapters and the parts that are trained whole leave nothing to train."""
    if not whole and not lora.rank:
        raise LisaError("nothing is to be trained: every part is frozen, and rank 0 adds no adapters")


@dataclass(frozen=True)
class FinetuneOptions:
    """The input of `lisa finetune`.

    Attributes:
        checkpoint: the LISA folder to start from.
        data: folders of images with masks, in any format of `lisa data`.
        output: the checkpoint folder to write; does not exist yet, or is empty.
        validation: a folder, as `data`, for an evaluation before and after.
        replay: AUTO, NONE, or a general data set (General's text) whose examples are mixed in.
        check_data: AUTO, NONE, or a general data set for an evaluation before and after.
        work: folder for states and logs; None: beside `output`, named after it.
        steps: of the optimizer; None: as many as `epochs` take.
        epochs: passes over the images of `data`.
        batch: images in a batch.
        accumulate: batches in a step.
        questions: the most that are asked about an image at once.
        learning_rate: the highest.
        lora: the adapters.
        frozen: of WHOLE_PARTS, what is not trained.
        seed: of all random numbers.
        save_every: steps between two saved states.
        recompute: "on": LLaMA's activations are computed again for the gradient, which takes a third more time and
            much less memory; "auto": on a GPU.
        load: precision, quantization, device and so on of the base; precision "auto" is fp32 on a CPU, bf16 on a GPU.
    """

    checkpoint: Path
    data: tuple[Path, ...]
    output: Path
    validation: Path | None = None
    replay: str = AUTO
    check_data: str = AUTO
    work: Path | None = None
    steps: int | None = None
    epochs: float = 10.0
    batch: int = 2
    accumulate: int = 10
    questions: int = 3
    learning_rate: float = 3e-4
    lora: LoraOptions = field(default_factory=LoraOptions)
    frozen: tuple[str, ...] = ()
    seed: int = 0
    save_every: int = 20
    recompute: str = "auto"
    load: LoadOptions = field(default_factory=LoadOptions)

    def check(self) -> None:
        """Raises a ValueError that names the option with an invalid value, and which values are valid."""
        if not self.data:
            raise LisaError("data names no folder; one or more with images and masks are expected")
        for name in ("steps", "batch", "accumulate", "questions", "save_every"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= LARGEST:
                raise LisaError(f"{name} is {value!s:.40}; it has to be 1 or more, at most {LARGEST}")
        for name, most in _MOST.items():
            value = getattr(self, name)
            if not 0 < value <= most:
                raise LisaError(f"{name} is {value}; it has to be above 0 and at most {most:g}")
        if not 0 <= self.seed <= LARGEST:
            raise LisaError(f"seed is {self.seed!s:.40}; it can be 0 to {LARGEST}")
        if self.recompute not in RECOMPUTE:
            raise LisaError(f"recompute is {self.recompute!r}; it can be {', '.join(RECOMPUTE)}")
        unknown = sorted(set(self.frozen) - set(WHOLE_PARTS))
        if unknown:
            raise LisaError(f"there is no part {', '.join(unknown)} to freeze; there are {', '.join(WHOLE_PARTS)}")
        self.lora.check()
        check_trained(self.lora, self.whole)
        self._check_general()
        self._check_load()

    def _check_general(self) -> None:
        share = General.parse(self.replay).number
        if share is not None and not 0 < share < 1:
            raise LisaError(f"replay's share is {share:g}; it has to be above 0 and below 1")
        images = General.parse(self.check_data).number
        if images is not None and not (images >= 1 and images.is_integer()):
            raise LisaError(f"check's number of images is {images:g}; it has to be a whole number of 1 or more")

    def _check_load(self) -> None:
        self.load.check()
        if self.load.precision not in PRECISIONS:  # gradients vanish in fp16
            raise LisaError(f"precision is {self.load.precision!r}; to fine-tune it can be {', '.join(PRECISIONS)}")
        if self.load.quantization not in QUANTIZATIONS:
            raise LisaError(
                f"quantization is {self.load.quantization!r}; to fine-tune it can be {', '.join(QUANTIZATIONS)}"
            )

    @property
    def work_folder(self) -> Path:
        """Where states and logs go."""
        return self.work or self.output.with_name(f"{self.output.name}.work")

    @property
    def whole(self) -> list[str]:
        """Names of the parts that are trained whole."""
        return [part for part in WHOLE_PARTS if part not in self.frozen]

    def load_on(self, device: str) -> LoadOptions:
        """How the base is loaded on a device, "cpu" or "cuda"."""
        precision = self.load.precision
        if precision == "auto":
            precision = "fp32" if device == "cpu" else "bf16"
        # The result is written as plain weights, so there is nothing else that "auto" could mean.
        quantization = "none" if self.load.quantization == "auto" else self.load.quantization
        # No graph: training replaces the weights' memory that it would hold.
        return replace(self.load, precision=precision, device=device, quantization=quantization, cuda_graph=False)
