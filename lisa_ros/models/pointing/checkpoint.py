# SPDX-License-Identifier: Apache-2.0
"""From the folders of a vision-language model and of SAM 2 to networks."""

from __future__ import annotations

import importlib.util
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from lisa_ros.models.common.checkpoints.hub import title_of
from lisa_ros.models.common.config_file import config_of
from lisa_ros.models.common.devices import choose_device, choose_dtype, device_memory, free_memory
from lisa_ros.models.common.errors import CheckpointError, ClosedError, Released
from lisa_ros.models.common.options import DEFAULT_SAM2, LoadOptions
from lisa_ros.models.common.sam2 import Sam2, load_sam2
from lisa_ros.models.common.weights.quantization import need_bitsandbytes
from lisa_ros.models.pointing.conventions import Convention, convention_for
from lisa_ros.segmentation.errors import LisaError, how_to_install
from lisa_ros.segmentation.files.pretrained import load_pretrained
from lisa_ros.segmentation.interface import DeviceMemory

_KEPT_IN_16_BIT = ("model.visual", "lm_head")
"""As for LISA: the vision encoder and the last layer are not quantized, see models/common/weights/quantization.py."""


@dataclass(eq=False)
class Networks:
    """The two networks.

    Attributes:
        name: checkpoint, precision and device, for logs.
        language: of AutoModelForImageTextToText; raises a ClosedError after `release`.
        processor: its processor.
        sam2: makes the masks; None after `release`.
        convention: the checkpoint's.
        device: of both.
        lock: held while `language` computes.
    """

    name: str
    language: Any
    processor: Any
    sam2: Sam2 | None
    convention: Convention
    device: torch.device
    lock: threading.Lock

    @property
    def mask_decoder(self) -> Sam2:
        """SAM 2. Raises a ClosedError after `release`."""
        if self.sam2 is None:
            raise ClosedError("the model was released")
        return self.sam2

    @property
    def context(self) -> int:
        """Most positions of a prompt and its answer together."""
        return int(self.language.config.get_text_config().max_position_embeddings)

    def memory(self) -> DeviceMemory:
        """Memory that torch has taken on the GPU; nothing on a CPU."""
        return device_memory(self.device)

    def release(self) -> None:
        """Frees the memory of the weights, when no answer is being generated any more."""
        with self.lock:
            self.language, self.sam2 = Released(), None
        free_memory()


def load_networks(folder: Path, options: LoadOptions) -> Networks:
    """Loads both networks.

    Raises:
        LisaError: a folder or an option cannot be used; the text says what would be right.
    """
    options.check()
    own = options.own_options()
    convention = convention_for(folder, own.get("prompt", "auto"))
    device = choose_device(options.device)
    dtype = choose_dtype(options, device)
    stored = _stored_quantization(folder)
    quantization = _resolved(folder, options.quantization, stored)
    sam2 = load_sam2(own.get("sam2", DEFAULT_SAM2), device, dtype)
    known: Any = transformers
    language, processor = load_pretrained(
        known.AutoModelForImageTextToText,
        known.AutoProcessor,
        folder,
        "as a vision-language model",
        CheckpointError,
        dtype=dtype,
        **_quantized(quantization, dtype, device, stored=stored is not None),
    )
    if quantization == "none":
        language = language.to(device)
    numbers = f"{quantization} " if quantization != "none" else ""
    name = f"{title_of(folder)} with SAM 2, {numbers}{str(dtype).removeprefix('torch.')} on {device.type}"
    return Networks(name, language.eval(), processor, sam2, convention, device, threading.Lock())


def _stored_quantization(folder: Path) -> str | None:
    """How the folder's weights are quantized: "4bit", "8bit", or a method's name such as "awq"; None: they are not."""
    stored = config_of(folder).get("quantization_config")
    if not isinstance(stored, dict) or not stored.get("quant_method"):
        return None
    if stored["quant_method"] != "bitsandbytes":
        return str(stored["quant_method"])
    return "4bit" if stored.get("load_in_4bit") else "8bit"


def _resolved(folder: Path, requested: str, stored: str | None) -> str:
    """The quantization that the folder is loaded in."""
    if stored is None:
        return "none" if requested == "auto" else requested
    if requested not in ("auto", stored):
        raise CheckpointError(
            f"{folder} has its weights in {stored}, but {requested} was requested; use auto, or the checkpoint that it "
            "was quantized from"
        )
    return stored


def _quantized(quantization: str, dtype: torch.dtype, device: torch.device, *, stored: bool) -> dict[str, Any]:
    """The arguments of from_pretrained for a quantization; `stored`: the folder's config.json describes it."""
    if quantization == "none":
        return {}
    if quantization in ("4bit", "8bit"):
        need_bitsandbytes(quantization)
    if importlib.util.find_spec("accelerate") is None:
        raise LisaError(f"a vision-language model in 8 or 4 bit needs accelerate; {how_to_install('pointing')}")
    where = {"device_map": {"": device}}
    if stored:
        return where
    known: Any = transformers
    config = known.BitsAndBytesConfig(
        load_in_4bit=quantization == "4bit",
        load_in_8bit=quantization == "8bit",
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=list(_KEPT_IN_16_BIT),
    )
    return {"quantization_config": config, **where}
