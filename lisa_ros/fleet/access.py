# SPDX-License-Identifier: Apache-2.0
"""Who may ask a server, and how much."""

from __future__ import annotations

import hmac
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lisa_ros.dialogue.rates import Rates
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.files.text_files import read_text

SHORTEST_TOKEN = 16
ANYBODY = "anybody"
"""The robot's name on a server without tokens, which listens on loopback only."""


class AccessError(LisaError):
    """A request that is refused.

    Attributes:
        status: of HTTP: 401, the token is missing or wrong; 429, the robot's quota is used up.
    """

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class Quota:
    """What one robot may ask for.

    Attributes:
        requests_per_minute: the most in any minute. 0: no limit.
        concurrent: requests that are answered at the same time.
    """

    requests_per_minute: float = 0.0
    concurrent: int = 8


class Access:
    """Tokens and quotas of robots. Belongs to one event loop or thread."""

    def __init__(self, tokens: Mapping[str, str], quota: Quota, clock: Callable[[], float] = time.monotonic) -> None:
        """Robot -> token; empty: anybody may ask."""
        self._tokens = dict(tokens)
        self._quota = quota
        self._rates = Rates(clock)
        self._running: dict[str, int] = {}

    def robot_of(self, authorization: str) -> str:
        """The robot that an Authorization header names.

        Raises:
            AccessError: it names none.
        """
        if not self._tokens:
            return ANYBODY
        given = authorization.removeprefix("Bearer ").encode()
        found = [robot for robot, token in self._tokens.items() if hmac.compare_digest(token.encode(), given)]
        if not found:
            raise AccessError("the token is missing or wrong; give the robot's own as remote_token", 401)
        return found[0]

    def begin(self, robot: str) -> None:
        """Counts a request; `end` must follow.

        Raises:
            AccessError: the robot asks too much.
        """
        running = self._running.get(robot, 0)
        if running >= self._quota.concurrent:
            raise AccessError(f"the robot has {running} requests running, which is its quota", 429)
        if wait_s := self._rates.wait_s(robot, self._quota.requests_per_minute):
            raise AccessError(f"the robot asked too often; next in {math.ceil(wait_s)} s", 429)
        self._running[robot] = running + 1

    def end(self, robot: str) -> None:
        """A request has ended."""
        self._running[robot] -= 1


def can_be_sent(token: str) -> bool:
    """Whether a header can hold a token: ASCII without spaces."""
    return all("!" <= letter <= "~" for letter in token)


def read_tokens(path: Path) -> dict[str, str]:
    """Robot -> token, from a file of lines `robot token`; empty lines and lines that begin with # are left out.

    Raises:
        LisaError: the file cannot be read or is too large, a line is something else, a robot or token is there twice,
            or a token is short or has other characters than ASCII.
    """
    try:
        lines = read_text(path).splitlines()
    except OSError as error:
        raise LisaError(f"{path} cannot be read ({error})") from error
    tokens: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2 or words[0] in tokens or words[1] in tokens.values():
            raise LisaError(f"{path}, line {number}: it must be `ROBOT TOKEN`, each robot and each token once")
        if len(words[1]) < SHORTEST_TOKEN or not can_be_sent(words[1]):
            raise LisaError(f"{path}, line {number}: a token must have at least {SHORTEST_TOKEN} ASCII characters")
        tokens[words[0]] = words[1]
    if not tokens:
        raise LisaError(f"{path} has no tokens; its lines must be `ROBOT TOKEN`")
    return tokens
