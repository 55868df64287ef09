# SPDX-License-Identifier: Apache-2.0
"""The page's texts: one JSON file a language, in static/texts; what a translation lacks is English."""

from __future__ import annotations

import functools
import json
import re
from importlib.resources import files

ENGLISH = "en"


@functools.cache
def languages() -> dict[str, dict[str, str]]:
    """All texts: language (a BCP 47 tag in lower case) -> key -> text."""
    folder = files("lisa_ros.nodes.console") / "static" / "texts"
    found = {
        one.name.removesuffix(".json").lower(): json.loads(one.read_text(encoding="utf-8"))
        for one in folder.iterdir()
        if one.name.endswith(".json")
    }
    return {name: {**found[ENGLISH], **texts, "lang": name} for name, texts in found.items()}


def texts_for(accepted: str) -> dict[str, str]:
    """The texts for a browser.

    Args:
        accepted: its Accept-Language header, for example "de-CH, de;q=0.9, en;q=0.5".
    """
    known = languages()
    weighted = []
    for part in accepted.split(","):
        name, _, rest = part.strip().lower().partition(";")
        weight = re.fullmatch(r"\s*q=([01](?:\.\d*)?)\s*", rest)
        weighted.append((float(weight[1]) if weight else 1.0, name))
    for _, name in sorted(weighted, key=lambda one: -one[0]):
        for candidate in (name, name.split("-")[0]):
            if candidate in known:
                return known[candidate]
    return known[ENGLISH]
