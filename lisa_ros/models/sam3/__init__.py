# SPDX-License-Identifier: Apache-2.0
"""SAM 3: all instances of a noun phrase, by transformers' Sam3Model."""
