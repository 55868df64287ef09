# SPDX-License-Identifier: Apache-2.0
"""What several nodes share: conversions between messages and arrays, guarded callbacks, start-up."""
