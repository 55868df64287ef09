# SPDX-License-Identifier: Apache-2.0
"""Shapes of tensors."""

from __future__ import annotations

Shape = tuple[int, ...]
