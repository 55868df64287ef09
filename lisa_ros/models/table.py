# SPDX-License-Identifier: Apache-2.0
"""The table of models in README.md: `python -m lisa_ros.models.table README.md` writes it. Imports no torch."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from lisa_ros.models.registry import OURS, ModelDescription

_BEGIN, _END = "<!-- models: made by python -m lisa_ros.models.table -->", "<!-- end of models -->"
_ABILITIES = ("explanation", "dialogue", "several", "references", "instances")


def models_table(models: Sequence[ModelDescription] = OURS) -> str:
    """A Markdown table with a row for each model."""
    head = ("model", "networks", "weights", "licence of the weights", "GPU memory", *_ABILITIES)
    rows = [head, ("---",) * len(head), *map(_row, sorted(models, key=lambda model: model.title.lower()))]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(model: ModelDescription) -> tuple[str, ...]:
    weights = ", ".join(f"`{one}`" if "/" in one and " " not in one else one for one in model.weights)
    abilities = ("yes" if getattr(model, name) else "no" for name in _ABILITIES)
    return (model.title, model.kind, weights, model.licence, model.memory, *abilities)


def with_table(page: str) -> str:
    """The page with the table between its two marks replaced by the current one."""
    pattern = re.compile(f"{re.escape(_BEGIN)}.*?{re.escape(_END)}", re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"the page lacks the marks {_BEGIN!r} and {_END!r}")
    return pattern.sub(lambda _: f"{_BEGIN}\n{models_table()}\n{_END}", page)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        page = Path(name)
        page.write_text(with_table(page.read_text(encoding="utf-8")), encoding="utf-8")
