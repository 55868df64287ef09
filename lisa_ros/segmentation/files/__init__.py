# SPDX-License-Identifier: Apache-2.0
"""Files that are read and written: images, masks as run lengths, results, pages, output folders, hashes of weights."""
