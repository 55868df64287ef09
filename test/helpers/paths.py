# SPDX-License-Identifier: Apache-2.0
"""Folders of the repository, for tests wherever they lie."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "config"
DOCS = ROOT / "docs"
DATA = ROOT / "test" / "data"
HELPERS = ROOT / "test" / "helpers"
"""Modules that tests import; also programs that tests run."""
PROCESSES = ROOT / "test" / "processes"
"""Programs that run as processes of their own beside a test, and what tests talk to them with."""
