# SPDX-License-Identifier: Apache-2.0
"""PyBullet, without the line with its build time that it prints when it is imported."""

import importlib
import os
import sys
from typing import Any

_STANDARD_ERROR = 2


def _import_silently() -> Any:
    """Import PyBullet while standard error, where it prints, leads nowhere."""
    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        kept = os.dup(_STANDARD_ERROR)
    except OSError:  # it is closed
        return importlib.import_module("pybullet")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, _STANDARD_ERROR)
        return importlib.import_module("pybullet")
    finally:
        os.dup2(kept, _STANDARD_ERROR)
        os.close(kept)
        os.close(nowhere)


pybullet = _import_silently()
"""The module."""
