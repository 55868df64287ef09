# SPDX-License-Identifier: Apache-2.0
"""One server with the model for many robots: a Ray Serve application, and the segmenter that asks it."""
