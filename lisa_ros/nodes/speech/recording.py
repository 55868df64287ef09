# SPDX-License-Identifier: Apache-2.0
"""Utterances and their texts as files, where an operator of the robot has asked for it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from lisa_ros.speech.audio.samples import write_wav
from lisa_ros.speech.listener import Final

_NO_FILE_NAME = re.compile(r"[^A-Za-z0-9_.-]")


class Recorder:
    """Writes <time>_<operator>.wav and .json for each utterance; with an empty folder nothing."""

    def __init__(self, folder: str, fault: Callable[[str], None]) -> None:
        """Takes the folder, which is made when it is needed.

        Args:
            folder: empty: nothing is stored.
            fault: takes one sentence when an utterance could not be stored, "" when one could.
        """
        self._folder = Path(folder).expanduser() if folder else None
        self._fault = fault

    def record(self, operator: str, event: Final) -> None:
        """Stores one utterance that has sound."""
        if self._folder is None or not len(event.samples):
            return
        understood = event.understood
        described = {
            "operator": operator,
            "start_ns": event.start_ns,
            "heard": understood.heard,
            "used": understood.used,
            "confidence": understood.confidence,
            "meaning": understood.meaning.value,
        }
        name = f"{event.start_ns}_{_NO_FILE_NAME.sub('_', operator)[:64]}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_wav(self._folder / f"{name}.wav", event.samples)
            (self._folder / f"{name}.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
            self._fault("")
        except OSError as error:
            self._fault(f"Utterances cannot be stored in {self._folder}: {error.strerror}.")
