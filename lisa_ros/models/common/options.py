# SPDX-License-Identifier: Apache-2.0
"""How a checkpoint is loaded. Imports no torch, so that a command line or a node can offer the choices at once."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from types import NoneType

from lisa_ros.segmentation.errors import LisaError, is_kind

TEMPLATES = ("llava_v1", "llava_llama_2")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
QUANTIZATIONS = ("auto", "none", "8bit", "4bit")
CONVERTED_TO = ("none", "8bit", "4bit")
"""What `lisa convert` can write."""

DEVICES = ("auto", "cpu", "cuda")
REFINEMENTS = ("none", "sam2")
SEGMENTERS = ("checkpoint", "auto")
DEFAULT_SAM2 = "facebook/sam2.1-hiera-large"
"""Hub id of the SAM 2 that the public code of the pointing models uses, in transformers' format."""
DEFAULT_SAM3 = "facebook/sam3"

TITLES = {"lisa": "LISA", "segllm": "SegLLM", "lira": "LIRA"}
"""Models that have options in MODELS_WITH -> their names for people. Options of other models are `model_options`."""

MODELS_WITH: dict[str, tuple[str, ...]] = {
    "template": ("lisa",),
    "vision_tower": ("lisa", "segllm"),
    "fusion_scales": ("segllm",),
    "explicit_references": ("segllm",),
    "references": ("segllm",),
    "refine": ("lira",),
    "attributes": ("lira",),
}
"""Options that not every model has -> the models that have them. "references" are those of a command."""

MEASURED_THREADS = 0
"""As threads: the number that is fastest on this machine, measured once the model is loaded."""

MOST_THREADS = 1024
"""More CPU threads than any robot's computer has; torch fails in strange ways with many thousands."""

DEFAULT_MEMORY = -1
"""As cache_mib or memory_limit_mib: what suits the device, see models.common.memory."""


@dataclass(frozen=True)
class LoadOptions:
    """Choices for loading a model.

    Attributes:
        template: conversation template that the checkpoint was trained with.
        precision: number format of the computation; "auto": fp32 on a CPU; on a GPU fp16 with quantized weights, else
            bf16 where the card computes it natively, else fp16.
        quantization: number format of LLaMA's weights; "auto": as the folder has them, "none" unless `lisa convert`
            wrote it. A folder with quantized weights can be loaded only in that quantization.
        device: "auto" is the GPU where there is one.
        vision_tower: the CLIP folder; None: the one that config.json names.
        cache_mib: most memory of stored prefixes (KV caches of earlier prompts), MiB; 0: none are stored;
            DEFAULT_MEMORY: 1024, on a GPU at most 5 % of its memory.
        memory_limit_mib: most memory of all KV caches (stored prefixes, running answers, captured decoding step), MiB;
            stored prefixes are evicted first; 0: no limit; DEFAULT_MEMORY: no limit on a CPU, 20 % of a GPU's memory.
        deterministic: the same command about the same image and dialogue gets the same answer to the last bit, whatever
            was answered before or at the same time. Slower: no drafts, no shared steps, no captured graph.
        cuda_graph: whether a GPU's decoding step may be captured as a CUDA graph; not for a model that is trained.
        threads: CPU threads that torch computes with in this process; MEASURED_THREADS: chosen by measurement; None:
            torch's own number. On a GPU nothing is measured.
        fusion_scales: SegLLM only: the file to take gamma_v and gamma_l from, HIPIE's r50_parts.pth, which the public
            loader uses; None: the checkpoint's own, with which training ended.
        explicit_references: SegLLM only: whether words such as "it" select no earlier masks, see
            lisa_ros.dialogue.references.
        refine: LIRA only: LIRA marks each object a second time after a close-up view; decode that mask, too.
        attributes: LIRA only: report, for each object, the logits of words for its colour, position and kind.
        model_options: "NAME=VALUE" of each option that only the checkpoint's own model has, see docs/models.md.
        refine_masks: "sam2": SAM 2 makes each mask finer, with the mask and its box as its prompt; "none": no.
        refine_checkpoint: SAM 2's folder or hub id.
        segmenter: "checkpoint": the checkpoint answers everything; "auto": commands that only name objects go to SAM 3.
        names_checkpoint: SAM 3's folder or hub id.
    """

    template: str = "llava_v1"
    precision: str = "auto"
    quantization: str = "auto"
    device: str = "auto"
    vision_tower: str | None = None
    cache_mib: int = DEFAULT_MEMORY
    memory_limit_mib: int = DEFAULT_MEMORY
    deterministic: bool = False
    cuda_graph: bool = True
    threads: int | None = None
    fusion_scales: str | None = None
    explicit_references: bool = False
    refine: bool = False
    attributes: bool = False
    model_options: tuple[str, ...] = ()
    refine_masks: str = "none"
    refine_checkpoint: str = DEFAULT_SAM2
    segmenter: str = "checkpoint"
    names_checkpoint: str = DEFAULT_SAM3

    def check(self) -> None:
        """Raises a LisaError that names an option whose value it cannot be, and what would be right."""
        self._check_kinds()
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise LisaError(f"{name} is {value!r}; it can be {', '.join(choices)}")
        if self.threads is not None and not MEASURED_THREADS <= self.threads <= MOST_THREADS:
            raise LisaError(
                f"threads is {self.threads}; it can be 1 to {MOST_THREADS}, or {MEASURED_THREADS} for a measured one"
            )
        for name in ("cache_mib", "memory_limit_mib"):
            value = getattr(self, name)
            if value < DEFAULT_MEMORY:
                raise LisaError(f"{name} is {value}; it can be 0 or more, or {DEFAULT_MEMORY} for the default")

    def _check_kinds(self) -> None:
        """A program in Python can give anything."""
        for name, (kinds, wanted) in _KINDS.items():
            value = getattr(self, name)
            if not is_kind(value, *kinds):
                raise LisaError(f"{name} is {value!r:.80}; it must be {wanted}")
        if not all(isinstance(one, str) for one in self.model_options):
            raise LisaError(f"model_options is {self.model_options!r:.80}; it must be {_KINDS['model_options'][1]}")

    def own_options(self) -> dict[str, str]:
        """The model's own options: name -> value.

        Raises:
            LisaError: one is not NAME=VALUE, or is given twice.
        """
        options: dict[str, str] = {}
        for text in self.model_options:
            name, equals, value = text.partition("=")
            if not (equals and name.strip()):
                raise LisaError(f"the model option {text!r} is not NAME=VALUE")
            if name.strip() in options:
                raise LisaError(f"the model option {name.strip()!r} is given twice")
            options[name.strip()] = value.strip()
        return options

    def second_models(self) -> dict[str, str]:
        """The checkpoints that take part besides the model's own: option -> folder or hub id. Mostly none."""
        refined = {"refine_checkpoint": self.refine_checkpoint} if self.refine_masks != "none" else {}
        named = {"names_checkpoint": self.names_checkpoint} if self.segmenter == "auto" else {}
        return {**named, **refined}

    def check_for(self, model: str, title: str) -> None:
        """Raises a LisaError for an option that differs from its default and that the model does not have.

        Args:
            model: the model's name, as in MODELS_WITH.
            title: its name for people.
        """
        for name, models in MODELS_WITH.items():
            value = getattr(self, name, None)
            if model not in models and value not in (None, getattr(LoadOptions, name, None)):
                names = " and ".join(TITLES[one] for one in models)
                raise LisaError(f"{name} is {value!r}, but only {names} has this option; the checkpoint is {title}'s")


_CHOICES = {
    "template": TEMPLATES,
    "precision": PRECISIONS,
    "quantization": QUANTIZATIONS,
    "device": DEVICES,
    "refine_masks": REFINEMENTS,
    "segmenter": SEGMENTERS,
}
_SWITCH = (bool,), "True or False"
_MIB = (Integral,), "a whole number of MiB"
_CHECKPOINT = (str, Path), "a folder or a Hugging Face id"
_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "vision_tower": ((str, Path, NoneType), "a folder or a Hugging Face id, or None"),
    "cache_mib": _MIB,
    "memory_limit_mib": _MIB,
    "deterministic": _SWITCH,
    "cuda_graph": _SWITCH,
    "threads": ((Integral, NoneType), "a whole number, or None"),
    "fusion_scales": ((str, Path, NoneType), "a file, or None"),
    "explicit_references": _SWITCH,
    "refine": _SWITCH,
    "attributes": _SWITCH,
    "model_options": ((tuple, list), "a tuple of texts, each NAME=VALUE"),
    "refine_checkpoint": _CHECKPOINT,
    "names_checkpoint": _CHECKPOINT,
}
"""Option -> the kinds of its value, and how to say them; those of _CHOICES are texts."""
