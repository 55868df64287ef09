# SPDX-License-Identifier: Apache-2.0
"""Loads a folder in transformers' format, whole or not at all, with one sentence about what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lisa_ros.segmentation.errors import LisaError

_LEAST_VOCABULARY = 100
"""Entries of a tokenizer. transformers makes one of a few special tokens where the tokenizer's files are missing."""
_BYTES_OF_FLOAT16 = 2


def load_pretrained(
    model_class: Any, processor_class: Any, folder: Path, what: str, error: type[LisaError], **arguments: Any
) -> tuple[Any, Any]:
    """Load a model and its processor. Nothing is downloaded.

    Args:
        model_class: Has transformers' from_pretrained.
        processor_class: Too.
        folder: The checkpoint.
        what: The end of the sentence "FOLDER cannot be loaded ...".
        error: The class of the error.
        arguments: Further ones for the model.

    Returns:
        (model, processor).

    Raises:
        LisaError: Of the class `error`: a file is missing or damaged, or see `check_weights`.
    """
    try:
        model, report = model_class.from_pretrained(
            folder, local_files_only=True, output_loading_info=True, **arguments
        )
        processor = processor_class.from_pretrained(folder, local_files_only=True)
    except Exception as failed:  # transformers, safetensors and huggingface_hub have no common class of errors
        why = " ".join(str(failed).split()) or type(failed).__name__
        raise error(f"{folder} cannot be loaded {what}: {why}") from failed
    check_weights(model, report, folder, error)
    tokenizer = getattr(processor, "tokenizer", None)
    if tokenizer is not None and len(tokenizer) < _LEAST_VOCABULARY:
        raise error(f"{folder} cannot be loaded {what}: its tokenizer has {len(tokenizer)} entries; a file is missing")
    return model, processor


def check_weights(model: Any, report: dict[str, Any], folder: Path | str, error: type[Exception]) -> None:
    """Refuse a model that answers at random: transformers itself warns of missing weights, and takes NaN for numbers.

    Args:
        model: From from_pretrained.
        report: From from_pretrained, with `output_loading_info`.
        folder: The checkpoint, or its hub id.
        error: The class of the error.

    Raises:
        Exception: Of the class `error`: weights of the model are not in the folder, or are NaN or infinite.
    """
    names = {name for name, _ in model.named_parameters()}
    missing = sorted(names & set(report["missing_keys"]))
    if missing:
        raise error(
            f"{folder} lacks {len(missing)} of the {len(names)} weights of {type(model).__name__}, such as "
            f"{missing[0]}: it is not complete, or holds another model"
        )
    for name, tensor in model.state_dict().items():  # with the scales of quantized weights
        if getattr(tensor, "is_floating_point", bool)() and not all_finite(tensor):
            raise error(
                f"{_file_of(name, folder)}: {name} has numbers that are NaN or infinite; the file is damaged, download "
                "it again"
            )


def all_finite(tensor: Any) -> bool:
    """Whether no number of a torch tensor is NaN or infinite.

    aminmax needs no memory, and about a thirtieth of the time of isfinite, which makes three arrays of the same shape.
    """
    if not tensor.numel() or tensor.element_size() < _BYTES_OF_FLOAT16:  # aminmax is not implemented for float8
        return bool(tensor.isfinite().all())
    return all(bool(end.isfinite()) for end in tensor.aminmax())


def _file_of(name: str, folder: Path | str) -> Path | str:
    """The file with a weight; the folder where the weight has another name in the files."""
    files = sorted(Path(folder).glob("*.safetensors")) or sorted(Path(folder).glob("*.bin"))
    if len(files) == 1:
        return files[0]
    for index in Path(folder).glob("*.index.json"):
        file = json.loads(index.read_text(encoding="utf-8")).get("weight_map", {}).get(name)
        if file:
            return index.with_name(file)
    return folder
