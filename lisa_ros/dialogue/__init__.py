# SPDX-License-Identifier: Apache-2.0
"""Dialogues: the turns of each operator, their SQLite file, and references to earlier turns."""
