# SPDX-License-Identifier: Apache-2.0
"""Heard text to commands: vocabulary, correction, control phrases, the wake phrase."""
