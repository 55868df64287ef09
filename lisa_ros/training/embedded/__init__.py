# SPDX-License-Identifier: Apache-2.0
"""The embedded checkpoint: its architecture, its codes for positions and colours, its export."""
