# SPDX-License-Identifier: Apache-2.0
"""Choices of an evaluation. Imports nothing heavy, so that a command line can offer them at once."""

from __future__ import annotations

DATASETS = ("reason_seg", "refcoco", "refcoco+", "refcocog", "grefcoco", "mr_refcoco", "tabletop", "folder")
"""The names in datasets.catalogue."""

PROTOCOLS = ("teacher_forced", "referring", "generate", "quantization")
"""How questions are asked and which mask is scored, see protocols.py."""

PHRASINGS = ("upstream", "plain")
"""upstream: the question of LISA's validation, made of the data set's text. plain: the text alone."""

REFERENCES = ("own", "true", "none")
"""Masks of earlier rounds that a model gets where a round refers to them: its own, the true ones, none."""

MASK_RULES = ("first", "union")
"""Which of several masks of an answer is scored: the first, as upstream's chat.py draws it, or all together."""
