# SPDX-License-Identifier: Apache-2.0
"""An operator's text, without effect on the structure of a prompt."""

from __future__ import annotations

import re
from collections.abc import Iterable

_CONTROL_CHARACTERS = r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+"


def neutralize(text: str, control_texts: Iterable[str]) -> str:
    """What an operator typed, as plain words.

    Control texts (`[SEG]`, `<image>`, `</s>`, a template's role markers ...) get a space after their first character
    (`[ SEG]`), so that they stay readable and mean nothing. Control characters, line ends among them, become one space,
    or nothing at the ends of the text. Any other text comes back as it was, since it must be tokenized as upstream
    tokenizes it.
    """
    text = re.sub(rf"^{_CONTROL_CHARACTERS}|{_CONTROL_CHARACTERS}$", "", text)
    text = re.sub(_CONTROL_CHARACTERS, " ", text)
    marks = sorted(set(control_texts), key=len, reverse=True)
    pattern = re.compile("|".join(re.escape(mark) for mark in marks))
    while pattern.search(text):  # a break can complete no other mark, but marks may overlap
        text = pattern.sub(lambda match: f"{match.group()[0]} {match.group()[1:]}", text)
    return text
