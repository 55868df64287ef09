# SPDX-License-Identifier: Apache-2.0
"""An answer as the messages that are written to a bag."""
