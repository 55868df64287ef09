# SPDX-License-Identifier: Apache-2.0
"""The bars of the node, and whether the measurement meets them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ADDED_MS = 15.0
IDLE_PERCENT = 20.0
WAIT_RATIO = 2.0
WANTED_RATE = 0.9
"""Of the camera's images, this part must have reached the node, or its idling means nothing."""


@dataclass(frozen=True)
class Bar:
    """One bar.

    Attributes:
        measured, wanted: for people.
        held: whether the measurement meets it.
    """

    name: str
    measured: str
    wanted: str
    held: bool


def bars(figures: Mapping[str, Any], rate_hz: float) -> list[Bar]:
    """The bars of what was measured.

    Args:
        figures: by the part's name.
        rate_hz: of the camera.
    """
    found: list[Bar] = []
    if (idling := figures.get("idling")) is not None:
        share = idling["node_percent"]
        rate = idling["image_rate_hz"]
        held = share <= IDLE_PERCENT and rate >= WANTED_RATE * rate_hz
        measured = f"{share:.1f} %, {rate:.1f} images/s received"
        found.append(Bar(f"a {rate_hz:g} Hz camera, no command", measured, f"≤ {IDLE_PERCENT:g} % of a core", held))
    if (added := figures.get("added_time")) is not None:
        name = "added to the model's own time, median"
        measured = f"{added['added']:.1f} ms ({added['added_processor']:.1f} ms of processor time)"
        found.append(Bar(name, measured, f"≤ {ADDED_MS:g} ms", added["added"] <= ADDED_MS))
    if (flood := figures.get("flood")) is not None:
        found += _flood_bars(flood)
    if (restarting := figures.get("restarting")) is not None:
        turns = restarting["first_turn"], restarting["next_turn"]
        measured = f"turns {turns[0]} and {turns[1]}, IoU {restarting['next_iou']:.2f}"
        found.append(Bar("kill -9: the dialogue goes on", measured, "turns 1 and 2", turns == (1, 2)))
    return found


def _flood_bars(flood: Mapping[str, Any]) -> list[Bar]:
    sent = flood["sent"]
    answered = f"{flood['answers']} of {sent}, {flood['twice']} twice, {flood['refused']} refused"
    all_of_them = flood["answers"] == sent and not flood["twice"] and not flood["refused"]
    mean, last = flood["longest_mean_ratio"], flood["longest_last_ratio"]
    limit = f"≤ {WAIT_RATIO:g}"
    return [
        Bar("flood: answers", answered, f"{sent}, none twice", all_of_them),
        Bar("flood: an operator's longest mean wait / mean of all", f"{mean:.2f}", limit, mean <= WAIT_RATIO),
        Bar("flood: an operator's longest wait / mean of the operators'", f"{last:.2f}", limit, last <= WAIT_RATIO),
    ]


def table(found: list[Bar]) -> str:
    """In Markdown."""
    rows = [f"| {bar.name} | {bar.measured} | {bar.wanted} | {'yes' if bar.held else 'no'} |" for bar in found]
    return "\n".join(["| bar | measured | wanted | held |", "|---|---|---|---|", *rows])
