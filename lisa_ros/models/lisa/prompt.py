# SPDX-License-Identifier: Apache-2.0
"""Builds the prompt of a dialogue; no text of an operator changes its structure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lisa_ros.models.common.tokenizer import IMAGE_PLACEHOLDER
from lisa_ros.models.lisa.configuration import IMAGE_END_TOKEN, IMAGE_START_TOKEN

Exchange = tuple[str, str]
"""A command and its answer."""


@dataclass(frozen=True)
class Template:
    """One of LLaVA's conversation templates.

    Attributes:
        markers: texts with which the template marks the speakers.
        render: exchanges (the last one's answer empty) -> prompt.
    """

    markers: tuple[str, ...]
    render: Callable[[Sequence[Exchange]], str]


def _render_llava_v1(exchanges: Sequence[Exchange]) -> str:
    text = (
        "A chat between a curious human and an artificial intelligence assistant. "
        "The assistant gives helpful, detailed, and polite answers to the human's questions. "
    )
    for command, answer in exchanges:
        text += f"USER: {command} "
        text += f"ASSISTANT: {answer}</s>" if answer else "ASSISTANT:"
    return text


def _render_llava_llama_2(exchanges: Sequence[Exchange]) -> str:
    system = (
        "You are a helpful language and vision assistant. "
        "You are able to understand the visual content that the user provides, "
        "and assist the user with a variety of tasks using natural language."
    )
    turns = []
    for i, (command, answer) in enumerate(exchanges):
        head = f"<<SYS>>\n{system}\n<</SYS>>\n\n" if i == 0 else ""
        turns.append(f"[INST] {head}{command} [/INST]" + (f" {answer} </s>" if answer else ""))
    return "<s>".join(turns)  # the tokenizer adds the first <s>


TEMPLATES: dict[str, Template] = {
    "llava_v1": Template(("USER:", "ASSISTANT:"), _render_llava_v1),
    "llava_llama_2": Template(("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"), _render_llava_llama_2),
}


def build_prompt(template: Template, exchanges: Sequence[Exchange], *, wrap_image: bool = True) -> str:
    """The prompt for the last command of a dialogue.

    Args:
        template: one of TEMPLATES.
        exchanges: earlier commands with their answers, then the command to answer, with the answer "". Commands
            must be neutralized, see `neutralize`.
        wrap_image: put `<im_start>` and `<im_end>` around the image.

    Returns:
        Text with one `<image>`, before the first command.
    """
    image = f"{IMAGE_START_TOKEN}{IMAGE_PLACEHOLDER}{IMAGE_END_TOKEN}" if wrap_image else IMAGE_PLACEHOLDER
    (first, answer), *rest = exchanges
    return template.render([(f"{image}\n{first}", answer), *rest])


def template_doubt(config: Mapping[str, Any], finetuning: Mapping[str, Any], template: str) -> str:
    """Why a checkpoint seems to be trained with another template than the chosen one; empty: nothing says so.

    LLaMA 1 and Vicuna have 2048 positions and know no `[INST]`. The reverse cannot be seen: the public code runs
    checkpoints of Llama 2, too, with llava_v1.

    Args:
        config: config.json.
        finetuning: finetuning.json of `lisa finetune`; empty: there is none.
        template: the chosen key of TEMPLATES.
    """
    settings = finetuning.get("settings")
    trained = settings.get("template") if isinstance(settings, Mapping) else None
    named = {name: config.get(name) for name in ("conv_type", "conv_mode", "conversation_template")}
    stated = {"finetuning.json": trained, **{f"config.json ({name})": value for name, value in named.items()}}
    for source, value in stated.items():
        if value in TEMPLATES and value != template:
            return f"template is {template}, but {source} says {value}: answers will be worse; set template to {value}."
    if template == "llava_llama_2" and config.get("max_position_embeddings") == 2048:
        return (
            "template is llava_llama_2, for Llama 2, but config.json is that of LLaMA 1 or Vicuna (2048 positions):"
            " answers will be worse; set template to llava_v1."
        )
    return ""
