# SPDX-License-Identifier: Apache-2.0
"""Changes to content that was right: values of other kinds, missing and added entries, changed and cut bytes."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st

DEEP: Any = 0
for _ in range(900):
    DEEP = [DEEP]
"""Deeper than most functions can follow."""

_NUMBERS = st.one_of(
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.sampled_from([0, -1, 1, 2**31, 2**63, 10**9, 1e9, 3e9, 1e300, float("nan"), float("inf"), -float("inf")]),
)
_TEXTS = st.one_of(
    st.text(max_size=8), st.sampled_from(["", " ", "\x00", "\ud800", "../../x", "/etc/passwd", "a" * 300, "1", "nan"])
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), _NUMBERS, _TEXTS, st.just(DEEP)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=5,
)
CHANGES = st.lists(
    st.tuples(st.integers(0, 10_000), st.sampled_from(["replace", "delete", "add", "twice"]), VALUES),
    min_size=1,
    max_size=3,
)
"""Of `changed`."""

BYTES = st.lists(
    st.tuples(st.integers(0, 1_000_000), st.sampled_from(["set", "cut", "insert"]), st.binary(min_size=1, max_size=8)),
    min_size=1,
    max_size=4,
)
"""Of `changed_bytes`."""


def changed(content: Any, changes: list[tuple[int, str, Any]]) -> Any:
    """A copy of containers in which some places, the outermost included, hold something else."""
    holder = [copy.deepcopy(content)]
    for number, how, given in changes:
        value = json.loads(json.dumps(given))  # its own copy: another change may go into it
        places = list(_places(holder))
        container, key = places[number % len(places)]
        if how == "delete" and container is not holder:
            del container[key]
        elif how == "add" and isinstance(container[key], dict):
            container[key]["added"] = value
        elif how == "twice" and isinstance(container[key], list):
            container[key] = container[key] * 2
        else:
            container[key] = value
    return holder[0]


def changed_bytes(data: bytes, changes: list[tuple[int, str, bytes]]) -> bytes:
    """A file with some bytes changed, inserted, or cut off at the end."""
    for number, how, value in changes:
        place = number % max(1, len(data))
        if how == "cut":
            data = data[:place]
        else:
            data = data[:place] + value + data[place + (len(value) if how == "set" else 0) :]
    return data


def _places(container: Any, depth: int = 0) -> Any:
    keys = range(len(container)) if isinstance(container, list) else list(container)
    for key in keys:
        yield container, key
        if isinstance(container[key], (dict, list)) and depth < 12:
            yield from _places(container[key], depth + 1)
