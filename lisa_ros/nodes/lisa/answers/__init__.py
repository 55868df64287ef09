# SPDX-License-Identifier: Apache-2.0
"""From an answer to messages: masks, positions, planner topics, one outbox."""
