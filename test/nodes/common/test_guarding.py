# SPDX-License-Identifier: Apache-2.0
"""Guarded callbacks: an error ends nothing, whatever the callback's arguments are."""

from __future__ import annotations

from typing import Any
from unittest.mock import MagicMock

import pytest

from lisa_ros.nodes.common.guarding import guarded, guarded_by


def fail(*arguments: Any) -> None:
    raise ValueError("it broke")


class Guarded(MagicMock):
    """A node."""

    @guarded
    def on_timer(self) -> None:
        fail()

    @guarded
    def on_service(self, request: str, response: str) -> str:
        raise ValueError("it broke")


def node() -> Any:
    return Guarded(callback_errors=0)


@pytest.mark.parametrize("arguments", [(), ("message",), ("request", "response")])
def test_a_callback_that_fails_is_counted_and_returns_its_last_argument(arguments: tuple[str, ...]) -> None:
    one = node()
    assert guarded_by(one, fail)(*arguments) == (arguments[-1] if arguments else None)
    assert guarded_by(one, fail, "instead")(*arguments) == "instead"
    assert one.callback_errors == 2 and "it broke" in one.get_logger().error.call_args.args[0]


def test_a_method_that_fails_is_counted() -> None:
    one = node()
    assert one.on_timer() is None and one.on_service("request", "response") == "response"
    assert one.callback_errors == 2
