# SPDX-License-Identifier: Apache-2.0
"""Files that are read and written: images, results, pages, output folders, and the hash of a checkpoint's weights."""
