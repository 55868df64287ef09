# SPDX-License-Identifier: Apache-2.0
"""Segmenters made of a loaded model and a second one: SAM 2 for finer masks, SAM 3 for names of objects."""
