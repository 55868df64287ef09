# SPDX-License-Identifier: Apache-2.0
"""Makes an operator's text harmless: no part of it changes the structure of a prompt."""

from __future__ import annotations

import re
from collections.abc import Iterable

_CONTROL_CHARACTERS = r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+"


def in_sentence_case(text: str) -> str:
    """A text in which only the first letters of sentences keep their case, and "I": "THE Mug" becomes "The mug"."""
    lower = "".join(one.lower() if len(one.lower()) == 1 else one for one in text)
    kept = re.sub(r"(?:^|[.!?]\s+)\w", lambda found: text[found.start() : found.end()], lower)
    return re.sub(r"(?<!\w)i(?!\w)", "I", kept)


def neutralize(text: str, control_texts: Iterable[str]) -> str:
    """An operator's text as plain text.

    Control texts (`[SEG]`, `<image>`, `</s>`, a template's role markers ...) get a space after their first character
    (`[ SEG]`), so that they stay readable and have no effect. Control characters, line ends among them, become one
    space, and are removed at the ends of the text. Any other text is returned unchanged: it must be tokenized as
    upstream tokenizes it.

    Args:
        text: what the operator typed.
        control_texts: those of one character, or with white space inside, are ordinary text and stay as they are.
    """
    text = re.sub(rf"^{_CONTROL_CHARACTERS}|{_CONTROL_CHARACTERS}$", "", text)
    text = re.sub(_CONTROL_CHARACTERS, " ", text)
    splittable = {one for one in control_texts if len(one) > 1 and not re.search(r"\s", one)}
    if not splittable:
        return text
    pattern = re.compile("|".join(re.escape(one) for one in sorted(splittable, key=len, reverse=True)))
    # Control texts may overlap, so one pass can leave another. Each pass puts a space into what matched, and no control
    # text contains white space: the loop ends.
    while pattern.search(text):
        text = pattern.sub(lambda match: f"{match.group()[0]} {match.group()[1:]}", text)
    return text
