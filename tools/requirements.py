# SPDX-License-Identifier: Apache-2.0
"""Prints what setup.py requires, one requirement a line: `python tools/requirements.py [--only] [EXTRA...]`.

--only: of the extras alone, without the package's own requirements.

Reads setup.py without running it: a fresh virtual environment of Python 3.12 has no setuptools yet.
"""

import ast
import sys
from pathlib import Path


def literals(source: str) -> dict[str, object]:
    """Returns the module-level names of `source` that are bound to plain literals."""
    found: dict[str, object] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = ast.literal_eval(node.value)
    return found


def main(arguments: list[str]) -> int:
    """Prints the requirements of the package and of the extras; returns an exit code."""
    only, extras = "--only" in arguments, [one for one in arguments if one != "--only"]
    known = literals((Path(__file__).parent.parent / "setup.py").read_text())
    per_extra = known["EXTRAS_REQUIRE"]
    unknown = [extra for extra in extras if extra not in per_extra]
    if unknown:
        print(f"no such extra in setup.py: {', '.join(unknown)}; there are: {', '.join(per_extra)}", file=sys.stderr)
        return 2
    own = [] if only else known["INSTALL_REQUIRES"]
    names = [*own, *(name for extra in extras for name in per_extra[extra])]
    print("\n".join(dict.fromkeys(names)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
