# SPDX-License-Identifier: Apache-2.0
"""From a command to an answer: queue, worker threads, the action."""
