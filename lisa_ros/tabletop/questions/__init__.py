# SPDX-License-Identifier: Apache-2.0
"""Questions about views of the simulated table, with their answers."""
