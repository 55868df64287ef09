# SPDX-License-Identifier: Apache-2.0
"""A cancel token can be polled and waited for."""

from __future__ import annotations

import threading

from lisa_ros.segmentation.cancellation import CancelToken

PATIENCE_S = 60


def test_a_token_is_cancelled_once_and_for_all() -> None:
    token = CancelToken()
    assert not token() and not token.wait(0)
    token.cancel()
    token.cancel()
    assert token() and token.wait()


def test_a_thread_that_waits_is_woken() -> None:
    token, seen = CancelToken(), []
    thread = threading.Thread(target=lambda: seen.append(token.wait(PATIENCE_S)))
    thread.start()
    token.cancel()
    thread.join(PATIENCE_S)
    assert seen == [True]
