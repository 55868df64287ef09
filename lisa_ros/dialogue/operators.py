# SPDX-License-Identifier: Apache-2.0
"""Operators' ids."""

from __future__ import annotations

from lisa_ros.segmentation.errors import LisaError

DEFAULT_OPERATOR = "default"
MAX_OPERATOR_LENGTH = 64


class OperatorError(LisaError):
    """An operator id that cannot be used; the text is one sentence for the sender."""


def operator_name(operator_id: str) -> str:
    """The name under which a dialogue is kept: the id itself, "default" for an empty one.

    Raises:
        OperatorError: The id is longer than 64 characters, blank, or has characters that cannot be printed.
    """
    if not operator_id:
        return DEFAULT_OPERATOR
    if len(operator_id) > MAX_OPERATOR_LENGTH or operator_id.isspace() or not operator_id.isprintable():
        quoted = ascii(operator_id[:20]) + ("..." if len(operator_id) > 20 else "")
        raise OperatorError(
            f"The operator_id {quoted} cannot be used: it must be 1 to {MAX_OPERATOR_LENGTH} printable characters"
            f" (it has {len(operator_id)}), or empty for {DEFAULT_OPERATOR!r}."
        )
    return operator_id
