# SPDX-License-Identifier: Apache-2.0
"""`lisa convert` for LIRA: makes one folder of the released pieces."""

from __future__ import annotations

import shutil
from pathlib import Path

from lisa_ros.models.common.config_file import config_of
from lisa_ros.models.common.conversion.plan import plan_stream
from lisa_ros.models.common.conversion.work import Conversion, Work, stamp
from lisa_ros.models.common.errors import CheckpointError
from lisa_ros.models.common.weights.filling import quantized_layers
from lisa_ros.models.lira.configuration import MODEL_TYPE
from lisa_ros.models.lira.released.assembling import ReleasedLira
from lisa_ros.models.lira.released.pieces import holds_lira

LICENCE = (
    "Licences: OMG-Seg, which is part of LIRA, is for non-commercial use only (S-Lab License 1.0); LIRA's repository "
    "names no licence; InternVL2 and InternLM2 have their own. See docs/lira.md."
)


def is_source(source: Path) -> bool:
    """Whether a folder holds LIRA, in pieces or converted already."""
    return holds_lira(source) or config_of(source).get("model_type") == MODEL_TYPE


def plan(conversion: Conversion) -> Work:
    """The plan for LIRA's pieces.

    Raises:
        CheckpointError: lists every tensor that is missing, unexpected or misshapen, or says what else is wrong.
    """
    if not holds_lira(conversion.source):
        raise CheckpointError(f"{conversion.source} is converted already; convert the original pieces")
    released = ReleasedLira(conversion.source)
    layers = quantized_layers(released.network, conversion.quantization)

    def describe(folder: Path) -> None:
        shutil.copyfile(released.pieces.internvl / "tokenizer.model", folder / "tokenizer.model")
        (folder / "LICENCES.md").write_text(LICENCE + "\n", encoding="utf-8")

    return Work(
        streams=(plan_stream(released, lambda key: key, layers, conversion.shard_bytes),),
        stamps={"source": {str(file.relative_to(released.folder)): stamp(file) for file in released.files}},
        describe=describe,
        config={"model_type": MODEL_TYPE, **released.description},
        notes=(released.report(), LICENCE),
    )
