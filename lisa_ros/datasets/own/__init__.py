# SPDX-License-Identifier: Apache-2.0
"""Your own images: read in the formats that annotation tools export, checked, shown and converted."""
