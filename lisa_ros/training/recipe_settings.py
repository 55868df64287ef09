# SPDX-License-Identifier: Apache-2.0
"""The recipe's stages in their order, how long each learns, and what all of them depend on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lisa_ros.tabletop.views import DEFAULT_CACHE, RESERVED_PAIRS
from lisa_ros.training.loop.trainer import Schedule

STAGES = (
    *("render", "sam_pretraining", "clip_pretraining", "text_pretraining", "hint_grounding", "alignment", "joint"),
    *("hard_negatives", "rebalancing", "other_object", "joint_a", "joint_b"),
    *("clip_randomized", "sam_randomized", "language_randomized", "joint_randomized"),
    *("randomized_a", "randomized_b", "export"),
)

SCHEDULES: dict[str, Schedule] = {
    "sam_pretraining": Schedule(steps=2600, learning_rate=2e-3, muon_rate=0.02),
    "clip_pretraining": Schedule(steps=9000, learning_rate=2e-3, muon_rate=0.02),
    "text_pretraining": Schedule(steps=400, learning_rate=2e-3, muon_rate=0.02),
    "hint_grounding": Schedule(steps=700, learning_rate=1.5e-3, muon_rate=0.01, warmup=30),
    "alignment": Schedule(steps=4500, learning_rate=1e-3, muon_rate=0.01, warmup=30),
    "joint": Schedule(steps=700, learning_rate=2e-4, muon_rate=0.003, warmup=20),
    "hard_negatives": Schedule(steps=1400, learning_rate=4e-4, muon_rate=0.006, warmup=30),
    "rebalancing": Schedule(steps=400, learning_rate=2e-4, muon_rate=0.003, warmup=20),
    "other_object": Schedule(steps=700, learning_rate=8e-4, muon_rate=0.008, warmup=30),
    "joint_a": Schedule(steps=600, learning_rate=4e-4, muon_rate=0.006, warmup=20),
    "joint_b": Schedule(steps=600, learning_rate=4e-4, muon_rate=0.006, warmup=20),
    "clip_randomized": Schedule(steps=12000, learning_rate=1e-3, muon_rate=0.01, warmup=50),
    "sam_randomized": Schedule(steps=900, learning_rate=8e-4, muon_rate=0.008, warmup=30),
    "language_randomized": Schedule(steps=400, learning_rate=6e-4, muon_rate=0.006, warmup=20),
    "joint_randomized": Schedule(steps=1700, learning_rate=4e-4, muon_rate=0.004, warmup=10),
    "randomized_a": Schedule(steps=400, learning_rate=3e-4, muon_rate=0.004, warmup=20),
    "randomized_b": Schedule(steps=400, learning_rate=3e-4, muon_rate=0.004, warmup=20),
}
"""How long and how fast each stage learns."""


@dataclass(frozen=True)
class Recipe:
    """What the stages depend on.

    Attributes:
        views: folder of rendered views, one folder a split.
        work: folder of states and logs.
        output: the checkpoint folder to write.
        seed: of all random numbers.
        train_views, randomized_views: how many views of the plain and of randomized tables are learned from.
        workers: processes that render.
        schedules: steps to replace or shorten stages with, by stage; the others are those of SCHEDULES.
        start: a checkpoint folder that the randomized stages start from; None: the mean of joint_a and joint_b.
        all_combinations: whether views and questions also have the pairs of kind and colour, and of related kinds, that
            are otherwise reserved for evaluation.
        start_share: how much of the weights before the randomized stages the exported ones keep, 0 to 1.
    """

    views: Path = DEFAULT_CACHE
    work: Path = Path(".cache/training")
    output: Path = Path("lisa_ros/checkpoints/tabletop")
    seed: int = 1
    train_views: int = 9000
    randomized_views: int = 9000
    workers: int = 2
    schedules: tuple[tuple[str, Schedule], ...] = ()
    start: Path | None = None
    start_share: float = 0.0
    all_combinations: bool = False

    @property
    def avoided_pairs(self) -> frozenset[tuple[str, str]]:
        """(kind, colour) pairs that no view of the training shows."""
        return frozenset() if self.all_combinations else RESERVED_PAIRS

    def schedule(self, stage: str) -> Schedule:
        """How long and how fast a stage learns."""
        return dict(self.schedules).get(stage, SCHEDULES[stage])
