# SPDX-License-Identifier: Apache-2.0
"""From an answer to messages: masks, 3-D positions, planner topics, and the threads that publish them."""
