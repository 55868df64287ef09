# SPDX-License-Identifier: Apache-2.0
"""A discrete-event simulation (SimPy) of a server and its robots.

A replica works on up to `concurrent` commands at the same time, which share its time; others wait. Decoding steps that
they share cost less than the same steps one after the other (`gain`). A command about an image that the replica has not
encoded takes longer, and nothing is shared while it is encoded. The front end (proxy, ingress, and on one machine the
robots) needs processor time for each command.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from lisa_ros.segmentation.errors import LisaError, how_to_install

try:
    import simpy
except ModuleNotFoundError as error:
    raise LisaError(f"the capacity model needs SimPy; {how_to_install('test')}") from error

_DONE_S = 1e-9


@dataclass(frozen=True)
class Costs:
    """What commands cost.

    Attributes:
        new_s, known_s: seconds of a replica that has nothing else to do, about a new and about a known image, in the
            order in which one robot asks. Robot n begins with image n, as in the benchmark.
        front_s: seconds of the front end, half before and half after the replica's.
        robot_s: seconds of a robot's own for each new image, before it asks: it compresses the image.
        gain: of n commands on a replica, each further one costs 1 - gain of what it costs alone. 0: they only share.
        encode_s: the part of a new image's seconds in which it is encoded: no command shares that, whatever the gain.
    """

    new_s: Sequence[float]
    known_s: Sequence[float]
    front_s: float = 0.0
    robot_s: float = 0.0
    gain: float = 0.0
    encode_s: float = 0.0


@dataclass(frozen=True)
class Site:
    """A server and its robots.

    Attributes:
        robots: each sends a command, waits for the answer, and pauses.
        replicas: of the model.
        cores: processor cores that replicas and front end share; 0: none has to wait for a core.
        concurrent: commands that a replica works on at the same time.
        pause_s: mean pause of a robot, exponentially distributed.
        commands_per_image: a robot asks so many times about an image.
        new_later_s: a command about a new image waits as if it had come so much later.
    """

    robots: int
    replicas: int
    cores: float = 0
    concurrent: int = 4
    pause_s: float = 0.0
    commands_per_image: int = 4
    new_later_s: float = 0.0


@dataclass
class Answers:
    """Seconds to whole answers about new and known images; `seconds`: from the first command to the last answer."""

    new_s: list[float] = field(default_factory=list)
    known_s: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def all_s(self) -> list[float]:
        """All of them."""
        return [*self.new_s, *self.known_s]


class _Station:
    """One thread of execution: its jobs share it."""

    def __init__(self, gain: float = 0.0) -> None:
        self.left_s: dict[simpy.Event, float] = {}
        self.unshared: set[simpy.Event] = set()
        self._gain = gain

    def rate(self) -> float:
        """Speed of each job, where 1 is that of a job alone."""
        sharing = len(self.left_s) - len(self.unshared)
        steps = 1 + (1 - self._gain) * (sharing - 1) if sharing else 0.0
        return 1 / (len(self.unshared) + steps)


class _Machine:
    """Stations that share processor cores: a station is never faster than one core."""

    def __init__(self, environment: simpy.Environment, cores: float) -> None:
        self._environment, self._cores = environment, cores
        self._stations: list[_Station] = []
        self._at_s, self._change = 0.0, environment.event()
        environment.process(self._run())

    def station(self, gain: float = 0.0) -> _Station:
        self._stations.append(_Station(gain))
        return self._stations[-1]

    def work(self, station: _Station, seconds: float, *, shared: bool = True) -> simpy.Event:
        """A job of so many seconds; the event happens at its end. The station's gain holds for jobs that are shared."""
        self._advance()
        done = self._environment.event()
        if not shared:
            station.unshared.add(done)
        station.left_s[done] = max(seconds, _DONE_S)
        self._change.succeed()
        self._change = self._environment.event()
        return done

    def _speed(self) -> float:
        busy = sum(bool(one.left_s) for one in self._stations)
        return min(1.0, self._cores / busy) if self._cores and busy else 1.0

    def _advance(self) -> None:
        passed_s, speed = self._environment.now - self._at_s, self._speed()
        self._at_s = self._environment.now
        for station in [one for one in self._stations if one.left_s]:
            rate = station.rate() * speed
            for done in station.left_s:
                station.left_s[done] -= passed_s * rate

    def _run(self) -> Generator[simpy.Event, Any, None]:
        while True:
            speed = self._speed()
            busy = [one for one in self._stations if one.left_s]
            next_s = min((min(one.left_s.values()) / (one.rate() * speed) for one in busy), default=None)
            ends = [] if next_s is None else [self._environment.timeout(max(next_s, 0.0))]
            yield simpy.AnyOf(self._environment, [self._change, *ends])
            self._advance()
            for station in self._stations:
                for done in [one for one, left_s in station.left_s.items() if left_s <= _DONE_S]:
                    del station.left_s[done]
                    station.unshared.discard(done)
                    done.succeed()


class _Replica:
    """A station with so many places; commands that find none wait in the order of their priority."""

    def __init__(self, environment: simpy.Environment, machine: _Machine, concurrent: int, gain: float) -> None:
        self.station = machine.station(gain)
        self.places = simpy.PriorityResource(environment, concurrent)

    @property
    def load(self) -> int:
        return self.places.count + len(self.places.queue)


def _times(costs: Costs, robot: int, commands_per_image: int) -> Iterator[float]:
    """The times of a robot's commands; the first one about each image finds it new."""
    known = commands_per_image - 1
    for image in itertools.count(robot):
        yield costs.new_s[image % len(costs.new_s)]
        for number in range(image * known, image * known + known):
            yield costs.known_s[number % len(costs.known_s)]


def simulate(site: Site, costs: Costs, commands: int, seed: int = 0, until_s: float | None = None) -> Answers:
    """Answers of so many commands, the same number from each robot; with until_s, those that end before it."""
    environment, chance, answers = simpy.Environment(), random.Random(seed), Answers()
    machine = _Machine(environment, site.cores)
    front = machine.station()
    replicas = [_Replica(environment, machine, site.concurrent, costs.gain) for _ in range(site.replicas)]

    def robot(number: int) -> Generator[simpy.Event, Any, None]:
        at, times = replicas[0], _times(costs, number, site.commands_per_image)
        own = machine.station() if costs.robot_s else None  # each station costs time in every step of the simulation
        for count in range(max(1, commands // site.robots)):
            if site.pause_s:
                yield environment.timeout(chance.expovariate(1 / site.pause_s))
            is_new = not count % site.commands_per_image
            if is_new and own is not None:
                yield machine.work(own, costs.robot_s)
            began_s = environment.now
            yield machine.work(front, costs.front_s / 2)
            if is_new:
                at = min(replicas, key=lambda one: (one.load, chance.random()))
            due_s = environment.now + (site.new_later_s if is_new else 0.0)
            with at.places.request(round(1e6 * due_s)) as place:
                yield place
                encode_s = costs.encode_s if is_new else 0.0
                if encode_s:
                    yield machine.work(at.station, encode_s, shared=False)
                yield machine.work(at.station, next(times) - encode_s)
            yield machine.work(front, costs.front_s / 2)
            (answers.new_s if is_new else answers.known_s).append(environment.now - began_s)
            answers.seconds = environment.now

    for number in range(site.robots):
        environment.process(robot(number))
    environment.run(until=until_s)
    answers.seconds = until_s or answers.seconds
    return answers
