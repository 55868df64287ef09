# SPDX-License-Identifier: Apache-2.0
"""From the steps in which a model generates an answer to the events of the Segmenter interface."""
