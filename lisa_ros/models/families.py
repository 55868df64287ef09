# SPDX-License-Identifier: Apache-2.0
"""Which model of the family a checkpoint folder holds, by its config.json. Imports no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LISA, SEGLLM, LIRA = "lisa", "segllm", "lira"


def family_of(checkpoint: Path) -> str:
    """The name of the family's member in `models/` and `segmenters/`.

    A folder that cannot be read, or says nothing of its family, is LISA's: its loader says best what is amiss.
    """
    config = _config(checkpoint)
    if "segmentator" in config:
        return SEGLLM
    return LIRA if config.get("model_type") == "lira" else LISA


def _config(checkpoint: Path) -> dict[str, Any]:
    try:
        config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return config if isinstance(config, dict) else {}
