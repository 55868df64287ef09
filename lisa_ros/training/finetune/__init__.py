# SPDX-License-Identifier: Apache-2.0
"""`lisa finetune`: trains LoRA adapters and some parts of a checkpoint on folders of images."""
