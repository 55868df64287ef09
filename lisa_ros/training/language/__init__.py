# SPDX-License-Identifier: Apache-2.0
"""The text that the embedded model learns: vocabulary, token batches, questions."""
