# SPDX-License-Identifier: Apache-2.0
"""The models of the family behind the doorway, one file each; `lisa_ros.models.loading.load_segmenter` picks one."""
