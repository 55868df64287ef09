# SPDX-License-Identifier: Apache-2.0
"""SegLLM (arXiv 2410.18923): LLaMA + CLIP + HIPIE; one mask for each command; earlier masks can be input."""

from lisa_ros.models.segllm.checkpoint import load_segllm
from lisa_ros.models.segllm.decoding import Answer, Segllm
from lisa_ros.models.segllm.encoded_image import EncodedImage

__all__ = ["Answer", "EncodedImage", "Segllm", "load_segllm"]
