# SPDX-License-Identifier: Apache-2.0
"""A trained network as a checkpoint folder of the released format, which `load_lisa` and upstream's code can read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from lisa_ros.models.lisa.configuration import LisaConfig
from lisa_ros.models.lisa.image.patch_classifier import OBJECT_PATCHES
from lisa_ros.models.lisa.keys import VISION_PREFIX, released_key
from lisa_ros.models.lisa.network import LisaNetwork
from lisa_ros.segmentation.scoring import FILE as SCORE_FILE
from lisa_ros.training.embedded.architecture import CLIP, CLIP_PREPROCESSING, LANGUAGE


def export_checkpoint(network: LisaNetwork, config: LisaConfig, tokenizer_model: Path, folder: Path) -> None:
    """Writes config.json, added_tokens.json, tokenizer.model, model.safetensors (half precision) and clip/.

    Args:
        network: float32 on the CPU.
        config: what the network was built with.
        tokenizer_model: sentencepiece model, copied.
        folder: made where missing; files of the same names are replaced. A calibration of scores is deleted, since it
            was fitted to other weights.
    """
    (folder / SCORE_FILE).unlink(missing_ok=True)
    clip = folder / config.vision_tower
    clip.mkdir(parents=True, exist_ok=True)
    state = {key: value.detach().to(torch.float16).contiguous() for key, value in network.state_dict().items()}
    lisa = {released_key(key): value for key, value in state.items() if not key.startswith(VISION_PREFIX)}
    seen = {released_key(key): value for key, value in state.items() if key.startswith(VISION_PREFIX)}
    for weights, file in ((lisa, folder / "model.safetensors"), (seen, clip / "model.safetensors")):
        save_file(weights, file, metadata={"format": "pt"})
        file.chmod(0o644)  # safetensors makes it readable for its owner alone
    write_descriptions(config, folder)
    if tokenizer_model.resolve() != (folder / "tokenizer.model").resolve():
        shutil.copyfile(tokenizer_model, folder / "tokenizer.model")


def write_descriptions(config: LisaConfig, folder: Path) -> None:
    """Writes the JSON files of a checkpoint folder, those of clip/ too."""
    clip = folder / config.vision_tower
    clip.mkdir(parents=True, exist_ok=True)
    _write(folder / "config.json", _config_json(config))
    _write(folder / "added_tokens.json", config.added_tokens)
    _write(folder / "tokenizer_config.json", {"tokenizer_class": "LlamaTokenizer", "legacy": True})
    _write(clip / "config.json", {"model_type": "clip_vision_model", "architectures": ["CLIPVisionModel"], **CLIP})
    _write(clip / "preprocessor_config.json", CLIP_PREPROCESSING)


def _config_json(config: LisaConfig) -> dict[str, Any]:
    return {
        "architectures": ["LISAForCausalLM"],
        "model_type": "llava",
        "vocab_size": config.language.vocab_size,
        **LANGUAGE,
        "mm_hidden_size": config.vision_width,
        "mm_use_im_start_end": config.wrap_image,
        "mm_use_im_patch_token": False,
        "mm_vision_select_feature": "patch",
        "mm_vision_select_layer": config.select_layer,
        "mm_vision_tower": config.vision_tower,
        "vision_tower": config.vision_tower,
        "out_dim": config.out_dim,
        "train_mask_decoder": True,
        "lisa_ros_point_prompts": config.point_prompts,
        "lisa_ros_most_objects": config.most_objects,
        "lisa_ros_sentence_case": config.sentence_case,
        "lisa_ros_words": " ".join(sorted(config.words)),
        "lisa_ros_names": dict(config.names),
        **({OBJECT_PATCHES: config.object_patches.as_json()} if config.object_patches else {}),
        "torch_dtype": "float16",
        "use_cache": False,
    }


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
