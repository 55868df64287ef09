# SPDX-License-Identifier: Apache-2.0
"""How well spoken commands work, and how fast: `python -m lisa_ros.benchmark.speech`."""
