# SPDX-License-Identifier: Apache-2.0
"""`lisa finetune`: LoRA and whole parts of a checkpoint, trained on folders of images."""
