# SPDX-License-Identifier: Apache-2.0
"""Makes the CMake files of the ROS 2 wheels fit this environment.

The wheels carry the folders of the machine they were built on (`/opt/python/cp3XX-cp3XX/...`).
This replaces them by the folders of the interpreter that runs this script. Running it again changes nothing.
"""

import re
import sys
import sysconfig
from pathlib import Path

import numpy

BUILDER = r"/opt/python/cp3\d+-cp3\d+"


def fitted(text: str) -> str:
    """Returns `text` with the builder's folders replaced by this interpreter's."""
    paths = sysconfig.get_paths()
    packages = BUILDER + r"/lib/python3\.\d+/site-packages"
    # numpy first: its headers moved from core to _core between 1.26 and 2.
    text = re.sub(packages + r"/numpy/_?core/include", lambda _: numpy.get_include(), text)
    text = re.sub(packages, lambda _: paths["purelib"], text)
    return re.sub(BUILDER + r"/include/python3\.\d+", lambda _: paths["include"], text)


def main() -> int:
    """Patches every CMake file below the environment's `share` folder; returns 0."""
    changed = 0
    for path in sorted((Path(sys.prefix) / "share").rglob("*.cmake")):
        before = path.read_text()
        after = fitted(before)
        if after != before:
            path.write_text(after)
            changed += 1
    print(f"{changed} CMake files of the ROS 2 wheels fitted to {sys.prefix}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
