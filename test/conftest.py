# SPDX-License-Identifier: Apache-2.0
"""Fixtures that all tests share: golden packs (test/helpers/parity/packs.py) and ROS domains; the kind of each test."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from crashed_workers import pytest_xdist_make_scheduler as pytest_xdist_make_scheduler
from packs import pack
from paths import ROOT

from lisa_ros.demo.private_domain import reserved_domain

if TYPE_CHECKING:
    from node_probe import Probe

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "alone")
KINDS = {"nodes": "ros", "launch": "ros", "demo": "ros", "models": "model", "evaluation": "model", "training": "model"}
"""Folder of test/ -> the kind of its tests, unless a test or its module is marked otherwise; `unit` everywhere else."""

SHARED_NODES = frozenset({"scripted_probe", "probe", "overloaded"})
"""Fixtures of a module or a session that are a Probe of a lisa_node."""

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


@pytest.fixture(scope="session", autouse=True)
def terminal_signals() -> None:
    """Processes that tests start get Ctrl-C and SIGHUP also where the test run ignores them, as in the background.

    A process inherits ignored signals, and not handled ones.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


@pytest.fixture(scope="session")
def shared_domain() -> Iterator[int]:
    """The ROS domain of `scripted_probe` and of the modules that use it."""
    with reserved_domain(f"{ROOT} {WORKER} shared") as number:
        yield number


@pytest.fixture(scope="module", autouse=True)
def ros_domain(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each module has a ROS domain that no other module, worker, run or checkout on this machine uses."""
    mine = [item for item in request.session.items if item.path == request.path]
    shares = any("scripted_probe" in getattr(item, "fixturenames", ()) for item in mine)
    with ExitStack() as stack:
        number = (
            request.getfixturevalue("shared_domain")
            if shares
            else stack.enter_context(reserved_domain(f"{ROOT} {WORKER} {request.path}"))
        )
        stack.enter_context(in_domain(number))
        yield


@contextmanager
def in_domain(number: int) -> Iterator[None]:
    """What starts in the block communicates on this machine and in this ROS domain only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROS_DOMAIN_ID", str(number))
        patch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        patch.delenv("ROS_STATIC_PEERS", raising=False)
        yield


@pytest.fixture(scope="session")
def scripted_probe(shared_domain: int) -> Iterator[Probe]:
    """A probe of one lisa_node with the scripted segmenter, shared by all tests that need no node of their own.

    A test uses operators of its own and restores the parameters that it changes.
    """
    from node_probe import probing
    from ros_harness import scripted_node, started

    with ExitStack() as stack:
        with in_domain(shared_domain):
            probe = stack.enter_context(probing())
            process = stack.enter_context(started(scripted_node("-p", "queue_size:=300")))
            probe.wait_for_node(process)
        yield probe


@pytest.fixture(autouse=True)
def no_dialogues_of_the_failed_run(request: pytest.FixtureRequest) -> None:
    """A test that is repeated (`--reruns`) finds the node of its module as it found it first: without dialogues."""
    used = SHARED_NODES.intersection(request.fixturenames)
    if not used or getattr(request.node, "execution_count", 1) == 1:
        return
    for probe in {id(value): value for value in map(request.getfixturevalue, used)}.values():
        for operator in probe.dialogues() if probe.has_node else ():  # some modules start a node in each test
            probe.reset(operator)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks each test with its kind, and skips what needs a GPU where there is none."""
    for item in items:
        if not any(item.get_closest_marker(kind) for kind in ("unit", "ros", "model")):
            folder = item.path.relative_to(ROOT / "test").parts[0]
            item.add_marker(KINDS.get(folder, "unit"))
        if item.get_closest_marker("gpu") and not _has_gpu():
            item.add_marker(pytest.mark.skip(reason="torch sees no CUDA device"))


@functools.cache
def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Why a test failed that was repeated (`--reruns`): also one that passed then has a fault."""
    for report in terminalreporter.getreports("rerun"):
        terminalreporter.section(f"repeated: {report.nodeid}")
        terminalreporter.line(report.longreprtext)
