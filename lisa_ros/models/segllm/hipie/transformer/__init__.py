# SPDX-License-Identifier: Apache-2.0
"""HIPIE's transformer: deformable encoder and decoder, fusion with text."""
