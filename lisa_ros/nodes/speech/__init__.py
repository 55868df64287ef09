# SPDX-License-Identifier: Apache-2.0
"""The node `speech`: operators' sound in, commands out, answers spoken."""
