# SPDX-License-Identifier: Apache-2.0
"""Views of the simulated table and questions about them, for data sets and training."""
