# SPDX-License-Identifier: Apache-2.0
"""The capacity model: against queueing theory where that has a formula, and against a measured run."""

import json

import pytest
from paths import DATA

pytest.importorskip("simpy", reason="SimPy is not installed: see extra fleet in setup.py")

from lisa_ros.benchmark.fleet.capacity import costs_of, errors, fewest_replicas, main, measured
from lisa_ros.benchmark.fleet.simulation import Costs, Site, simulate


def throughput(robots: int, service_s: float, pause_s: float) -> float:
    """Of the machine repairman model, which holds for processor sharing with any distribution of the service time."""
    weights = [1.0]
    for count in range(robots):
        weights.append(weights[-1] * (robots - count) * service_s / pause_s)
    return (1 - weights[0] / sum(weights)) / service_s


@pytest.mark.parametrize("robots", [2, 12, 30])
def test_one_replica_is_as_fast_as_the_machine_repairman_model_says(robots: int) -> None:
    site = Site(robots, 1, concurrent=robots, pause_s=1.0, commands_per_image=1)
    found = simulate(site, Costs([0.1], [0.1]), 12_000)
    assert len(found.new_s) / found.seconds == pytest.approx(throughput(robots, 0.1, 1.0), rel=0.03)


def test_commands_that_share_all_steps_do_not_slow_each_other() -> None:
    found = simulate(Site(8, 1, concurrent=8), Costs([0.2], [0.1], gain=1.0), 800)
    assert found.new_s == pytest.approx([0.2] * 200) and found.known_s == pytest.approx([0.1] * 600)


def test_encoding_a_new_image_is_not_shared_whatever_the_gain() -> None:
    found = simulate(Site(4, 1, commands_per_image=1), Costs([0.3], [0.3], gain=1.0, encode_s=0.2), 4)
    assert found.new_s == pytest.approx([4 * 0.2 + 0.1] * 4)


def test_commands_wait_in_order_for_a_place() -> None:
    found = simulate(Site(3, 1, concurrent=1, commands_per_image=1), Costs([0.2], [0.2]), 3)
    assert sorted(found.new_s) == pytest.approx([0.2, 0.4, 0.6])


def test_a_known_image_goes_before_a_new_one_that_has_not_waited_longer() -> None:
    """Three robots ask at 0 s. The first one asks again at 0.4 s, when the second one begins; both others wait."""
    for later_s, known_s in ((0.3, 0.4 + 0.4 + 0.1), (0.5, 0.4 + 0.1)):
        site = Site(3, 1, concurrent=1, commands_per_image=2, new_later_s=later_s)
        assert simulate(site, Costs([0.4], [0.1]), 6).known_s[0] == pytest.approx(known_s)


def test_new_images_go_to_the_replica_with_the_fewest_commands() -> None:
    found = simulate(Site(2, 2, commands_per_image=1), Costs([0.2], [0.2]), 200)
    assert found.new_s == pytest.approx([0.2] * 200)


def test_two_replicas_on_one_core_are_as_fast_as_one() -> None:
    found = simulate(Site(2, 2, cores=1, commands_per_image=1), Costs([0.2], [0.2]), 200)
    assert 200 / found.seconds == pytest.approx(5.0, rel=0.01)


def test_the_measured_run_is_reproduced_within_15_percent() -> None:
    """1 to 8 robots, two replicas; docs/fleet.md says how it was measured."""
    run = json.loads((DATA / "fleet_answers.json").read_text())
    costs, cores = costs_of(run, front_s=0.03, gain=0.0), 1.8  # as `calibrated` found them, which takes a while
    wrong = {
        (robots, name): error
        for robots in (1, 2, 4, 8)
        for name, error in errors(run, costs, cores, robots).items()
        if abs(error) > 0.15
    }
    assert not wrong


def test_rounds_that_other_programs_slowed_do_not_count() -> None:
    quiet = {"seconds": 1.0, "new_ms": [300.0], "known_ms": [100.0, 200.0, 300.0]}
    slowed = {"seconds": 3.0, "new_ms": [900.0], "known_ms": [400.0, 600.0, 700.0]}
    run = {"replicas": 1, "cores": 2, "robots": {"1": [quiet, slowed, quiet]}}
    assert measured(run, 1)["commands/s"] == pytest.approx(4.0)
    assert measured(run, 1)["p50, ms"] == pytest.approx(250.0)
    costs = costs_of(run, front_s=0.1, gain=0.0)
    assert costs.new_s == pytest.approx([0.2]) and costs.known_s == pytest.approx([0.001, 0.1, 0.2])
    assert costs.robot_s == pytest.approx(0.1)


def test_a_robot_asks_what_the_single_robot_asked_in_the_same_order() -> None:
    found = simulate(Site(1, 1, commands_per_image=3), Costs([1.0, 2.0], [0.1, 0.2, 0.3, 0.4], robot_s=0.5), 6)
    assert found.new_s == pytest.approx([1.0, 2.0]) and found.known_s == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert found.seconds == pytest.approx(5.0)
    second = simulate(Site(2, 2, commands_per_image=3), Costs([1.0, 2.0], [0.1, 0.2, 0.3, 0.4]), 6)
    assert second.new_s == pytest.approx([1.0, 2.0]), "another robot begins with another image"


def test_replicas_are_added_until_answers_come_in_time() -> None:
    replicas, shown = fewest_replicas(40, Costs([1.0], [0.5]), pause_s=5.0, p95_s=2.0)
    assert shown["p95, ms"] <= 2000
    fewer = Site(40, replicas - 1, pause_s=5.0, commands_per_image=2)
    slower = simulate(fewer, Costs([1.0], [0.5]), 40_000, until_s=300)
    assert replicas > 1 and sorted(slower.all_s)[int(0.95 * len(slower.all_s))] > 2.0


def test_a_file_that_does_not_exist_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["nowhere.json"])
    assert ended.value.code == 2 and "No such file or directory: 'nowhere.json'" in capsys.readouterr().err
