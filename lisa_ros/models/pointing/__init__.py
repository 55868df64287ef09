# SPDX-License-Identifier: Apache-2.0
"""Vision-language models that write boxes and points as text, and SAM 2, which makes masks of them. See README.md."""
