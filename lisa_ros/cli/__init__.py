# SPDX-License-Identifier: Apache-2.0
"""The `lisa` command: main.py, and one file for each subcommand."""
