# SPDX-License-Identifier: Apache-2.0
"""Makes test/data/upstream_lisa anew: the public LISA code's answers with the embedded checkpoint, on a CPU.

Needed when the embedded checkpoint changes. Outside of this checkout:

* an environment with `transformers==4.31.0 'tokenizers<0.14' 'numpy<2' opencv-python-headless pillow sentencepiece einops
  'accelerate<0.30' 'huggingface_hub<0.24' protobuf safetensors torch torchvision` (torch 2.15 works)
* the public code: the work tree of dvlab-research/LISA, as published (commit 3cb2d43)

    python tools/parity/upstream_answers.py --source LISA --checkpoint lisa_ros/checkpoints/tabletop \\
        --jobs test/data/upstream_lisa/jobs.json --output test/data/upstream_lisa

With --pack FOLDER instead of the last three, the outputs in a golden-lisa-a folder are made anew (tools/parity/reduce_golden_packs.py).

Then put the new SHA-256 of model.safetensors into test/models/lisa/test_upstream.py. The public code is imported, not changed:
`.cuda()` becomes nothing, SAM is built in the size that the checkpoint's tensors have instead of ViT-H, and CLIP's image goes
through PIL's bicubic as in transformers 4.31 (its own processor knows no plain height and width).
"""

import argparse
import json
import re
import sys
import time
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image


def tensor_shapes(folder):
    shapes = {}
    for file in sorted(folder.glob("*.safetensors")):
        from safetensors import safe_open

        with safe_open(file, "pt") as tensors:
            shapes |= {key: tuple(tensors.get_slice(key).get_shape()) for key in tensors.keys()}
    for file in sorted(folder.glob("pytorch_model*.bin")):
        shapes |= {
            key: tuple(value.shape) for key, value in torch.load(file, map_location="meta", weights_only=True).items()
        }
    return shapes


def sam_builder(shapes):
    """A stand-in for build_sam_vit_h in the checkpoint's own size; also the side of SAM's image in pixels."""
    from model.segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    at = "model.visual_model.image_encoder."
    width, _, patch, _ = shapes[at + "patch_embed.proj.weight"]
    grid = shapes[at + "pos_embed"][1]
    depth = 1 + max(int(m.group(1)) for m in (re.match(re.escape(at) + r"blocks\.(\d+)\.", k) for k in shapes) if m)
    spans = [(shapes[f"{at}blocks.{i}.attn.rel_pos_h"][0] + 1) // 2 for i in range(depth)]
    out = shapes[at + "neck.0.weight"][0]
    decoder = "model.visual_model.mask_decoder."
    heads = [k for k in shapes if k.startswith(decoder + "iou_prediction_head.layers.") and k.endswith("weight")]
    size = grid * patch

    def build(checkpoint=None):
        sam = Sam(
            image_encoder=ImageEncoderViT(
                depth=depth,
                embed_dim=width,
                img_size=size,
                mlp_ratio=4,
                patch_size=patch,
                qkv_bias=True,
                use_rel_pos=True,
                norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
                out_chans=out,
                num_heads=width // shapes[at + "blocks.0.attn.rel_pos_h"][1],
                global_attn_indexes=tuple(i for i, span in enumerate(spans) if span == grid),
                window_size=next((span for span in spans if span != grid), 0),
            ),
            prompt_encoder=PromptEncoder(
                embed_dim=out, image_embedding_size=(grid, grid), input_image_size=(size, size), mask_in_chans=16
            ),
            mask_decoder=MaskDecoder(
                num_multimask_outputs=3,
                transformer_dim=out,
                iou_head_depth=len(heads),
                iou_head_hidden_dim=shapes[decoder + "iou_prediction_head.layers.0.weight"][0],
                transformer=TwoWayTransformer(
                    depth=2,
                    embedding_dim=out,
                    num_heads=8,
                    mlp_dim=shapes[decoder + "transformer.layers.0.mlp.lin1.weight"][0],
                ),
            ),
            pixel_mean=[123.675, 116.28, 103.53],
            pixel_std=[58.395, 57.12, 57.375],
        )
        return sam.eval()

    return build, size


def clip_pixels(image, processor):
    size = processor["size"]
    mean, std = np.array(processor["image_mean"]), np.array(processor["image_std"])
    if "height" in size:
        resized = Image.fromarray(image).resize((size["width"], size["height"]), Image.BICUBIC)
    else:
        from transformers import CLIPImageProcessor

        return CLIPImageProcessor(**{k: v for k, v in processor.items() if k != "image_processor_type"}).preprocess(
            image, return_tensors="pt"
        )["pixel_values"]
    pixels = (np.asarray(resized, dtype=np.float32) / 255 - mean) / std
    return torch.from_numpy(pixels.transpose(2, 0, 1)).float().unsqueeze(0)


def sam_pixels(image, size):
    from model.segment_anything.utils.transforms import ResizeLongestSide

    resized = ResizeLongestSide(size).apply_image(image)
    x = torch.from_numpy(resized).permute(2, 0, 1).contiguous().float()
    x = (x - torch.tensor([123.675, 116.28, 103.53]).view(-1, 1, 1)) / torch.tensor([58.395, 57.12, 57.375]).view(
        -1, 1, 1
    )
    h, w = x.shape[-2:]
    return torch.nn.functional.pad(x, (0, size - w, 0, size - h)).unsqueeze(0), resized.shape[:2]


def write_golden(pack, model, tokenizer, tower, size):
    """Overwrites golden/N.npz of a pack: the prompts stay, the public code answers them with the pack's weights."""
    from transformers import CLIPImageProcessor

    processor = CLIPImageProcessor.from_pretrained(tower)
    for number, case in enumerate(json.loads((pack / "golden" / "cases.json").read_text())["cases"]):
        file = pack / "golden" / f"{number}.npz"
        before = dict(np.load(file))
        image = cv2.cvtColor(cv2.imread(str(pack / "golden" / case["image"])), cv2.COLOR_BGR2RGB)
        pixels = processor.preprocess(image, return_tensors="pt")["pixel_values"]
        sam, resized = sam_pixels(image, size)
        ids = torch.tensor(before["input_ids"]).reshape(1, -1)
        out, masks = model.evaluate(
            pixels, sam, ids, [resized], [image.shape[:2]], max_new_tokens=48, tokenizer=tokenizer
        )
        made = {
            "output_ids": np.array(out[0].tolist()).reshape(before["output_ids"].shape),
            "mask_logits": masks[0].numpy().astype(np.float16),
        }
        np.savez_compressed(file, **(before | made))
        print(
            number, "same ids" if np.array_equal(made["output_ids"], before["output_ids"]) else "other ids", flush=True
        )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", type=Path, required=True)
    for name in ("checkpoint", "jobs", "output", "pack"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--template", default="llava_v1")
    parser.add_argument("--max-new-tokens", type=int, default=64)
    options = parser.parse_args()
    options.checkpoint, options.source = (options.pack or options.checkpoint).resolve(), options.source.resolve()
    sys.path.insert(0, str(options.source))
    torch.Tensor.cuda = torch.nn.Module.cuda = lambda self, *args, **kwargs: self
    torch.set_num_threads(1)
    import model.LISA as lisa
    from model.llava import conversation
    from model.llava.mm_utils import tokenizer_image_token
    from transformers import LlamaTokenizer

    lisa.build_sam_vit_h, size = sam_builder(tensor_shapes(options.checkpoint))
    tokenizer = LlamaTokenizer.from_pretrained(
        options.checkpoint, use_fast=False, legacy=True, model_max_length=512, padding_side="right"
    )
    tokenizer.pad_token = tokenizer.unk_token
    seg = tokenizer("[SEG]", add_special_tokens=False).input_ids[0]
    tower = options.checkpoint / json.loads((options.checkpoint / "config.json").read_text())["vision_tower"]
    config = lisa.LISAForCausalLM.config_class.from_pretrained(options.checkpoint)
    config.vision_tower = config.mm_vision_tower = str(tower)
    model = lisa.LISAForCausalLM.from_pretrained(
        options.checkpoint, config=config, low_cpu_mem_usage=False, seg_token_idx=seg, torch_dtype=torch.float32
    )
    model.config.eos_token_id, model.config.bos_token_id, model.config.pad_token_id = (
        tokenizer.eos_token_id,
        tokenizer.bos_token_id,
        tokenizer.pad_token_id,
    )
    model.get_model().initialize_vision_modules(model.get_model().config)
    model = model.float().eval()
    processor = json.loads((tower / "preprocessor_config.json").read_text())
    if options.pack:
        write_golden(options.checkpoint, model, tokenizer, tower, size)
        return
    told = []
    for number, job in enumerate(json.loads(options.jobs.read_text())):
        image = cv2.cvtColor(cv2.imread(str(options.jobs.parent / job["image"])), cv2.COLOR_BGR2RGB)
        sam, resized = sam_pixels(image, size)
        turns = []
        for text in job["texts"]:
            conv = conversation.conv_templates[options.template].copy()
            conv.messages = []
            for i, said in enumerate([*turns, {"text": text, "answer": ""}]):
                conv.append_message(conv.roles[0], ("<im_start><image><im_end>\n" if i == 0 else "") + said["text"])
                conv.append_message(conv.roles[1], said["answer"])
            ids = tokenizer_image_token(conv.get_prompt(), tokenizer, return_tensors="pt").unsqueeze(0)
            began = time.perf_counter()
            out, masks = model.evaluate(
                clip_pixels(image, processor),
                sam,
                ids,
                [resized],
                [image.shape[:2]],
                max_new_tokens=options.max_new_tokens,
                tokenizer=tokenizer,
            )
            seconds = time.perf_counter() - began
            new = out[0][ids.shape[1] :].tolist()
            found = masks[0][-new.count(seg) :] if new.count(seg) else []
            files = []
            for mask in found:
                files.append(f"{number:02d}_{len(turns)}_{len(files)}.png")
                cv2.imwrite(str(options.output / files[-1]), (mask.numpy() > 0).astype(np.uint8) * 255)
            answer = tokenizer.decode([i for i in new if i != tokenizer.eos_token_id], skip_special_tokens=False)
            turns.append(
                {
                    "text": text,
                    "answer": answer,
                    "prompt_ids": ids[0].tolist(),
                    "answer_ids": new,
                    "masks": files,
                    "seconds": round(seconds, 3),
                }
            )
        told.append({"image": job["image"], "turns": turns})
        print(number, [(t["text"], t["answer"], len(t["masks"]), t["seconds"]) for t in turns], flush=True)
    (options.output / "answers.json").write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
