# SPDX-License-Identifier: Apache-2.0
"""The prompt of a dialogue in LIRA's training format (InternVL2's template, xtuner's `internvl2_chat`)."""

from __future__ import annotations

from lisa_ros.models.common.tokenizer import IMAGE_PLACEHOLDER
from lisa_ros.models.lira.configuration import TURN_END_TOKEN, TURN_TOKEN

# InternVL2's system prompt: "You are the InternVL multimodal model of Shanghai AI Laboratory and
# SenseTime, English name InternVL, a useful and harmless assistant."
SYSTEM = (
    "你是由上海人工智能实验室联合商汤科技开发的书生多模态大模型，"  # noqa: RUF001
    "英文名叫InternVL, 是一个有用无害的人工智能助手。"
)


def first_turn(command: str) -> str:
    """The prompt of a dialogue's first command, with one `<image>`. The command has gone through `neutralize`."""
    system = f"{TURN_TOKEN}system\n{SYSTEM}{TURN_END_TOKEN}"
    return system + later_turn(f"{IMAGE_PLACEHOLDER}\n{command}")


def later_turn(command: str) -> str:
    """The text that follows an answer and its end mark, directly, to continue the dialogue."""
    return f"{TURN_TOKEN}user\n{command}{TURN_END_TOKEN}{TURN_TOKEN}assistant\n"


def referring_question(expression: str) -> str:
    """The question for a referring expression with which LIRA was trained and evaluated."""
    return f"Please segment {expression.strip().lower()}."
