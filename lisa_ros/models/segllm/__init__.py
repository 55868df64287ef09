# SPDX-License-Identifier: Apache-2.0
"""SegLLM (arXiv 2410.18923): LLaMA + CLIP + HIPIE; one mask for each command, earlier masks are shown again."""

from lisa_ros.models.segllm.answering import Answer, Segllm
from lisa_ros.models.segllm.checkpoint import load_segllm
from lisa_ros.models.segllm.picture import SegllmPicture

__all__ = ["Answer", "Segllm", "SegllmPicture", "load_segllm"]
