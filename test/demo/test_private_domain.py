# SPDX-License-Identifier: Apache-2.0
"""A ROS domain belongs to one user at a time."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lisa_ros.demo import private_domain
from lisa_ros.demo.private_domain import reserved_domain

HOLDER = """
import sys
from lisa_ros.demo.private_domain import reserved_domain
with reserved_domain("one purpose") as number:
    print(number, flush=True)
    sys.stdin.read()
"""


def test_processes_of_one_purpose_have_different_domains() -> None:
    command = [sys.executable, "-c", HOLDER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        theirs = int(process.stdout.readline())
        with reserved_domain("one purpose") as ours, reserved_domain("one purpose") as another:
            assert len({theirs, ours, another}) == 3 and {theirs, ours, another} <= set(range(1, 101))
        process.communicate()


def test_a_domain_is_free_again_after_its_block_and_after_a_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    with reserved_domain("mine") as first:
        pass
    with subprocess.Popen([sys.executable, "-c", HOLDER.replace("one purpose", "mine")],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # fmt: skip
        assert process.stdout is not None
        assert int(process.stdout.readline()) == first
        process.kill()
    with reserved_domain("mine") as again:
        assert again == first


def test_that_all_domains_are_in_use_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private_domain, "_bound", lambda lock, number: False)
    with pytest.raises(RuntimeError, match="all ROS domains from 1 to 100 are in use"), reserved_domain("mine"):
        pass
