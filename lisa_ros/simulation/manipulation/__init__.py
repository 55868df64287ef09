# SPDX-License-Identifier: Apache-2.0
"""An arm at the simulated table."""
