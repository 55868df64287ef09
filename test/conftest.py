# SPDX-License-Identifier: Apache-2.0
"""Fixtures that all tests share: the golden packs, see test/helpers/packs.py."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packs import pack

if TYPE_CHECKING:
    from node_probe import Probe

# No test may reach out: a name that is no folder must fail the same way with and without a network.
os.environ["HF_HUB_OFFLINE"] = "1"
if "PYTEST_XDIST_WORKER" in os.environ:
    # Two workers with two threads each would wait for each other; torch reads this when it is imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def golden_lisa() -> Path:
    """The folder golden-lisa-a."""
    return pack("golden-lisa-a")


@pytest.fixture(scope="session")
def golden_segllm() -> Path:
    """The folder golden-segllm-a."""
    return pack("golden-segllm-a")


@pytest.fixture(scope="session")
def golden_lira() -> Path:
    """The folder golden-lira-a, LIRA's pieces as they are released, in toy size."""
    return pack("golden-lira-a")


@pytest.fixture(scope="session")
def converted_lira(golden_lira: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as one folder, not quantized. Not to be changed."""
    from lisa_ros.models.common.conversion.work import Conversion
    from lisa_ros.models.converting import convert

    folder = tmp_path_factory.mktemp("lira") / "toy"
    convert(Conversion(golden_lira, folder, "none", device="cpu"), report=lambda _: None)
    return folder


@pytest.fixture(scope="session")
def scripted_probe() -> Iterator[Probe]:
    """A probe of one lisa_node with the scripted segmenter, shared by all tests that need no node of their own.

    A test uses operators of its own and restores the parameters that it changes.
    """
    from node_probe import probing
    from ros_harness import scripted_node, started

    with probing() as probe, started(scripted_node("-p", "queue_size:=300")) as process:
        probe.wait_for_node(process)
        yield probe
