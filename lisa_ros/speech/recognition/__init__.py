# SPDX-License-Identifier: Apache-2.0
"""Utterances to text: the recognisers."""
