# SPDX-License-Identifier: Apache-2.0
"""How a checkpoint is loaded. Imports no torch, so that a command line or a node can offer the choices at once."""

from __future__ import annotations

from dataclasses import dataclass

TEMPLATES = ("llava_v1", "llava_llama_2")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
QUANTIZATIONS = ("auto", "none", "8bit", "4bit")
CONVERTED_TO = ("none", "8bit", "4bit")
"""What `lisa convert` can write."""

DEVICES = ("auto", "cpu", "cuda")

TITLES = {"lisa": "LISA", "segllm": "SegLLM", "lira": "LIRA"}
"""Folder in lisa_ros/models/ -> the model's name."""

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
DEFAULT_CACHE = -1
"""As cache_mib: 1024, on a GPU at most 5 % of its memory."""


@dataclass(frozen=True)
class LoadOptions:
    """One of each of the choices above, and which CLIP.

    Attributes:
        template: conversation template that the checkpoint was trained with.
        precision: what is computed in; "auto": fp32 on a CPU; on a GPU fp16 with quantized weights, else bf16.
        quantization: how LLaMA's weights are held; "auto": as the folder has them, "none" unless `lisa convert` wrote
            it. A folder that has them quantized can be loaded in that way alone.
        device: "auto" is the GPU where there is one.
        vision_tower: the CLIP folder; None: the one that config.json names.
        cache_mib: memory for what LLaMA has read, MiB; DEFAULT_CACHE: as suits the device.
        threads: CPU threads that torch computes with, in this process; MEASURED_THREADS: chosen by measurement; None:
            as torch has it. On a GPU nothing is measured.
        fusion_scales: SegLLM alone: the file to take gamma_v and gamma_l from, HIPIE's r50_parts.pth, as the public
            loader comes to do; None: the checkpoint's own, which training ended with.
        explicit_references: SegLLM alone: whether words such as "it" choose no earlier masks, see
            lisa_ros.dialogue.references.
        refine: LIRA marks each object a second time after a close look; decode that mask, too.
        attributes: read off LIRA, for each object, which words it would go on with.
    """

    template: str = "llava_v1"
    precision: str = "auto"
    quantization: str = "auto"
    device: str = "auto"
    vision_tower: str | None = None
    cache_mib: int = DEFAULT_CACHE
    threads: int | None = None
    fusion_scales: str | None = None
    explicit_references: bool = False
    refine: bool = False
    attributes: bool = False

    def check(self) -> None:
        """Raises a ValueError that names a choice which is none, and what it can be."""
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise ValueError(f"{name} is {value!r}; it can be {', '.join(choices)}")
        if self.threads is not None and self.threads < MEASURED_THREADS:
            raise ValueError(
                f"threads is {self.threads}; it can be 1 or more, or {MEASURED_THREADS} for a measured one"
            )
        if self.cache_mib < DEFAULT_CACHE:
            raise ValueError(f"cache_mib is {self.cache_mib}; it can be 0 or more, or {DEFAULT_CACHE} for the default")

    def check_for(self, model: str) -> None:
        """Raises a ValueError for an option that differs from its default and that the model does not have.

        Args:
            model: a key of TITLES.
        """
        for name, models in MODELS_WITH.items():
            value = getattr(self, name, None)
            if model not in models and value not in (None, getattr(LoadOptions, name, None)):
                names = " and ".join(TITLES[one] for one in models)
                raise ValueError(
                    f"{name} is {value!r}, but only {names} has this option; the checkpoint is {TITLES[model]}'s"
                )


_CHOICES = {"template": TEMPLATES, "precision": PRECISIONS, "quantization": QUANTIZATIONS, "device": DEVICES}
