# SPDX-License-Identifier: Apache-2.0
"""The error of a checkpoint folder that cannot be used."""


class CheckpointError(ValueError):
    """A checkpoint folder cannot be used; the text says what was wrong and what would be right."""
