# SPDX-License-Identifier: Apache-2.0
"""Where to grip an object: vacuum cups and parallel grippers."""
