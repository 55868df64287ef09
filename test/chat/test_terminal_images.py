# SPDX-License-Identifier: Apache-2.0
"""Images for terminals: what each protocol's text decodes to."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from lisa_ros.chat.terminal_images import rendered, supported_protocol

IMAGE = np.zeros((60, 80, 3), np.uint8)
IMAGE[:, 40:] = (250, 10, 20)


@pytest.mark.parametrize(
    ("environment", "protocol"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm2"),
        ({"TERM": "foot"}, "sixel"),
        ({"TERM": "xterm-256color"}, "blocks"),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/tmux"}, "blocks"),
        ({"TERM": "dumb"}, "none"),
        ({}, "none"),
    ],
)
def test_the_environment_says_what_a_terminal_shows(environment: dict[str, str], protocol: str) -> None:
    assert supported_protocol(environment) == protocol
    assert supported_protocol(environment, is_terminal=False) == "none"


def test_kitty_and_iterm2_get_the_image_as_png() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8)
    text = rendered(noise, "kitty", 100)
    chunks = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", text)
    assert [keys[-3:] for keys, _ in chunks] == ["m=1"] * (len(chunks) - 1) + ["m=0"] and len(chunks) > 1
    for data in ("".join(chunk for _, chunk in chunks), rendered(noise, "iterm2", 100).split(":")[1].split("\x07")[0]):
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))), noise)


def test_half_blocks_have_both_colours_and_the_asked_width() -> None:
    lines = rendered(IMAGE, "blocks", 20).splitlines()
    assert {line.count("\u2580") for line in lines} == {20} and len(lines) == 8
    assert "38;2;0;0;0;48;2;0;0;0m" in lines[0] and "38;2;250;10;20;48;2;250;10;20m" in lines[0]


def test_sixels_decode_to_the_image() -> None:
    text = rendered(IMAGE, "sixel", 100)
    body = text[text.index('"1;1;80;60') + len('"1;1;80;60') : text.index("\x1b\\")]
    palette = {int(i): tuple(map(int, rgb.split(";"))) for i, rgb in re.findall(r"#(\d+);2;(\d+;\d+;\d+)", body)}
    pixels = np.zeros((66, 80, 3))
    row, column, colour = 0, 0, 0
    for token in re.findall(r"#\d+;2;\d+;\d+;\d+|#\d+|!\d+.|\$|-", body):
        if ";" in token:
            continue
        if token[0] == "#":
            colour = int(token[1:])
        elif token == "$":
            column = 0
        elif token == "-":
            row, column = row + 6, 0
        else:
            length, bits = int(token[1:-1]), ord(token[-1]) - 63
            for bit in range(6):
                if bits >> bit & 1:
                    pixels[row + bit, column : column + length] = palette[colour]
            column += length
    assert np.abs(pixels[:60] * 2.55 - IMAGE).max() < 12
