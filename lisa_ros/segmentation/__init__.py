# SPDX-License-Identifier: Apache-2.0
"""The interface that every model has, its answers, and what is done with masks: scores, overlays, files. No torch."""
