# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of lisa_node."""

from pathlib import Path

import pytest
from node_probe import Probe


@pytest.fixture(scope="session")
def probe(scripted_probe: Probe) -> Probe:
    """The shared node. A module that needs other parameters has a fixture of the same name."""
    return scripted_probe


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A file that does not exist: the model waits in a command "gate <file>" until it does."""
    return tmp_path / "gate"
