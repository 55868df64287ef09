# SPDX-License-Identifier: Apache-2.0
"""One command: the planner asks the node, sends the arm to the grip, and what happened is compared with the truth."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from lisa_ros.client import FoundObject, LisaClient, ObjectGrip, Result, Status
from lisa_ros.demo.failure import DemoError
from lisa_ros.demo.pick.robot import LIFTED_M, Robot
from lisa_ros.simulation.manipulation.arm import OPENING_M
from lisa_ros.simulation.manipulation.kinematics import UnreachableError
from lisa_ros.spatial.rotation import quaternion, transform_of
from lisa_ros.tabletop.questions.conversation import questions
from lisa_ros.tabletop.questions.question import Question

FAMILIES = {"direct": 0.25, "attribute": 0.2, "relation": 0.2, "use": 0.2, "explain": 0.15}
"""Those that mean one object, and how often each is tried."""
WIDEST_M = OPENING_M - 0.015
"""Only objects that the hand can take are asked for: its opening less 15 mm for the errors of mask and depth."""
_IMAGES, _IMAGE_S, _LOST = 3, 0.2, 5
_QUESTIONS = 8


@dataclass(frozen=True)
class Trial:
    """One command and what came of it.

    Attributes:
        family: of the question; "given" for a text of the user's.
        text: the command.
        kind: of the object that is meant or, for a given text, that the mask covers.
        outcome: "lifted", "wrong object", "no answer", "no grip", "out of reach" or "not lifted".
        detail: the reason in one sentence; empty if lifted.
        explanation: the node's answer for people.
        answer_ms: the node's total_ms.
    """

    family: str
    text: str
    kind: str
    outcome: str
    detail: str = ""
    explanation: str = ""
    answer_ms: float = 0.0


def question_for(robot: Robot, seed: int) -> Question | None:
    """A question about one object that the hand can take; None: the scene gives no occasion for one."""
    rng = np.random.default_rng(seed)
    for question in questions(robot.view, rng, _QUESTIONS, held_out=True, weights=FAMILIES):
        if len(question.instances) == 1 and robot.table.narrowest_m(question.instances[0]) <= WIDEST_M:
            return question
    return None


def ask(client: LisaClient, robot: Robot, text: str, timeout_s: float) -> Result:
    """The node's answer about the robot's view, with an antipodal grip for each object.

    Raises:
        DemoError: there is no node, or no answer in time.
    """
    for _ in range(_LOST):  # cameras are best effort: an image may be lost on the way
        for _ in range(_IMAGES):
            stamp = robot.publish()
            time.sleep(_IMAGE_S)
        client.segment(text, operator="planner", dialogue="none", stamp=stamp, grip="antipodal", timeout_s=timeout_s)
        if not client.is_complete(timeout_s):
            client.cancel()
        result = client.result()
        if result.status in (Status.NO_NODE, Status.UNFINISHED):
            raise DemoError(result.message)
        if result.status is not Status.NO_IMAGE:
            break
    return result


def act(robot: Robot, question: Question | None, text: str, result: Result) -> Trial:
    """Send the arm to the grip of the answer's first object, and compare what it holds with what was meant."""
    found = result.objects[0] if result.objects else None
    covered = robot.instance_under(found.mask if found else None)
    meant = question.instances[0] if question else covered
    kinds = {one.instance: one.kind for one in robot.view.objects}
    outcome, detail = _outcome(robot, result, found, covered, meant, kinds)
    took_ms = result.segmentation.total_ms if result.segmentation else 0.0
    family = question.family if question else "given"
    return Trial(family, text, kinds.get(meant, ""), outcome, detail, result.explanation, float(took_ms))


def _outcome(
    robot: Robot, result: Result, found: FoundObject | None, covered: int, meant: int, kinds: dict[int, str]
) -> tuple[str, str]:
    if found is None:
        return "no answer", result.message or f"The answer is {result.status.name}."
    if covered != meant:
        return "wrong object", f"The mask is on: {kinds.get(covered, 'nothing')}."
    if found.grip is None:
        return "no grip", found.no_grip or found.no_pose
    before = robot.heights()
    try:
        # Across an object the hand comes fully open, which leaves room for errors; at a rim one finger must fit inside.
        opening_m = found.grip.opening_m if found.grip.strategy == "rim" else OPENING_M
        robot.arm.pick(*_in_table(robot, found.grip), opening_m)
    except UnreachableError as error:
        return "out of reach", str(error)
    rises = {instance: height - before[instance] for instance, height in robot.heights().items()}
    if rises[meant] < LIFTED_M:
        return "not lifted", "The object was not in the hand when the arm held it up."
    return "lifted", ""


def _in_table(robot: Robot, grip: ObjectGrip) -> tuple[tuple[float, float, float], tuple[float, float, float, float]]:
    """A grip in the camera's frame as one in the table's. On a robot, target_frame does this through TF."""
    pose = robot.view.camera.pose @ transform_of(grip.position_m, grip.orientation)
    x, y, z = pose[:3, 3].tolist()
    return (x, y, z), quaternion(pose[:3, :3])
