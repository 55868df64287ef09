# SPDX-License-Identifier: Apache-2.0
"""Domain randomization of the simulated table: ranges of everything that a question does not ask about."""
