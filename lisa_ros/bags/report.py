# SPDX-License-Identifier: Apache-2.0
"""All answers of a run as one HTML page."""

from __future__ import annotations

from pathlib import Path

from lisa_ros.bags.answering import BagAnswer
from lisa_ros.bags.outputs.answer import explanation, overlay
from lisa_ros.segmentation.files.atomic_files import write_text
from lisa_ros.segmentation.files.html_page import escape, figure, page


class Report:
    """Collects the answers; of each image only its JPEG is kept."""

    def __init__(self) -> None:
        """Start empty."""
        self._articles: list[str] = []
        self._counts: dict[str, int] = {}

    def add(self, answer: BagAnswer, start_ns: int) -> None:
        """Add an answer; start_ns is the time of the bag's first message."""
        self._counts[answer.status] = self._counts.get(answer.status, 0) + 1
        drawn = overlay(answer)
        command = answer.command
        title = f"{(answer.time_ns - start_ns) / 1e9:.2f} s, {command.operator}: {command.text}"
        said = explanation(answer) or answer.detail or f"{len(answer.objects)} objects"
        facts = f"{answer.status}, {len(answer.objects)} objects, {answer.total_ms:.0f} ms"
        image = figure(drawn, title) if drawn is not None else ""
        self._articles.append(f"<article><h2>{escape(title)}</h2><p>{escape(said)}<p>{escape(facts)}{image}</article>")

    def write(self, file: Path, title: str, problems: list[str]) -> None:
        """Write the page."""
        counts = ", ".join(f"{count} {status}" for status, count in sorted(self._counts.items()))
        warnings = [f"<p class=warning>{escape(one)}" for one in problems]
        write_text(file, page(title, [f"<p>{escape(counts)}", *warnings, *self._articles]))
