# SPDX-License-Identifier: Apache-2.0
"""The training loop: optimizers, schedules, losses, saved states, stopping, reports."""
