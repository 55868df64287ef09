# SPDX-License-Identifier: Apache-2.0
"""What an evaluation can be told. Imports nothing heavy, so that a command line can offer the choices at once."""

from __future__ import annotations

DATASETS = ("reason_seg", "refcoco", "refcoco+", "refcocog", "grefcoco", "mr_refcoco", "tabletop")
"""The names in datasets.catalogue."""

PROTOCOLS = ("teacher_forced", "referring", "generate", "quantization")
"""How a model is asked and what it is judged by, see protocols.py."""

PHRASINGS = ("upstream", "plain")
"""upstream: the question of LISA's validation, made of the data set's text. plain: the text alone."""

REFERENCES = ("own", "true", "none")
"""What a model is shown of the rounds that a round refers to: the masks that it found itself, the true ones, none."""

MASK_RULES = ("first", "union")
"""Which of several masks of an answer is judged: the first, as upstream's chat.py draws it, or all together."""
