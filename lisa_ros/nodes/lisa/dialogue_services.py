# SPDX-License-Identifier: Apache-2.0
"""The services that list, return, delete and restore operators' dialogues, and the file that stores them."""

import os
from pathlib import Path

from rclpy.node import Node
from std_msgs.msg import Header

from lisa_ros.dialogue.dialogues import DialogueLimits, Dialogues, UndoError
from lisa_ros.dialogue.noun_phrase import object_name
from lisa_ros.dialogue.operators import OperatorError, operator_name
from lisa_ros.dialogue.store import DialogueStore
from lisa_ros.msg import DialogueSummary, DialogueTurn
from lisa_ros.nodes.common.endpoints import SERVICE_QOS
from lisa_ros.nodes.common.guarding import guarded_by
from lisa_ros.nodes.lisa.answers.answer_messages import object_message
from lisa_ros.nodes.lisa.live_parameters import LiveParameters
from lisa_ros.nodes.lisa.parameters import NodeParameters
from lisa_ros.segmentation.text import explanation_of, without_surrogates
from lisa_ros.segmentation.turns import Turn
from lisa_ros.srv import GetDialogue, ListDialogues, ResetDialogue, UndoDialogue

AUTO = "auto"


def dialogue_limits(parameters: NodeParameters) -> DialogueLimits:
    """The limits of the dialogues, from the node's parameters."""
    return DialogueLimits(
        parameters.max_turns,
        parameters.max_operators,
        60 * parameters.max_dialogue_idle,
        parameters.max_dialogue_mib << 20,
    )


def open_dialogues(file: str, node_name: str, limits: DialogueLimits) -> Dialogues:
    """Open the stored dialogues.

    Args:
        file: The file that stores them; AUTO: a file for this node in ROS_HOME; empty: memory only.
        node_name: The node's fully qualified name.
        limits: The node's limits. What exceeds them is removed from the file.

    Raises:
        StoreError: They cannot be stored there.
    """
    if not file:
        return Dialogues(limits)
    path = _own_file(node_name) if file == AUTO else Path(file).expanduser()
    return Dialogues(limits, store=DialogueStore(path))


def _own_file(node_name: str) -> Path:
    home = Path(os.environ.get("ROS_HOME") or Path.home() / ".ros")
    return home / "lisa_ros" / f"{node_name.strip('/').replace('/', '.')}.sqlite"


class DialogueServices:
    """The services `~/reset_dialogue`, `~/undo_dialogue`, `~/get_dialogue` and `~/list_dialogues`."""

    def __init__(self, node: Node, dialogues: Dialogues, parameters: LiveParameters) -> None:
        """Create the services on the node. The limits of the dialogues follow the parameters from now on."""
        self._dialogues = dialogues
        parameters.on_change(lambda now: dialogues.set_limits(dialogue_limits(now)))
        for kind, name, callback in (
            (ResetDialogue, "reset_dialogue", self._reset),
            (UndoDialogue, "undo_dialogue", self._undo),
            (GetDialogue, "get_dialogue", self._get),
            (ListDialogues, "list_dialogues", self._list),
        ):
            node.create_service(kind, f"~/{name}", guarded_by(node, callback), qos_profile=SERVICE_QOS)

    def _reset(self, request: ResetDialogue.Request, response: ResetDialogue.Response) -> ResetDialogue.Response:
        try:
            operator = operator_name(request.operator_id)
        except OperatorError as error:
            response.message = str(error)
            return response
        response.turns = self._dialogues.reset(operator)
        response.success = True
        return response

    def _undo(self, request: UndoDialogue.Request, response: UndoDialogue.Response) -> UndoDialogue.Response:
        try:
            operator = operator_name(request.operator_id)
            response.turns = self._undo_change(operator, request.change)
        except (OperatorError, UndoError) as error:
            response.message = str(error)
            return response
        response.success = True
        return response

    def _undo_change(self, operator: str, change: int) -> int:
        if change == UndoDialogue.Request.RESET:
            return self._dialogues.undo_reset(operator)
        if change == UndoDialogue.Request.TURN:
            return self._dialogues.undo_turn(operator)
        raise UndoError(f"The change {change} cannot be undone; it must be 0 (the reset) or 1 (the newest turn).")

    def _get(self, request: GetDialogue.Request, response: GetDialogue.Response) -> GetDialogue.Response:
        try:
            turns = self._dialogues.turns(operator_name(request.operator_id))
        except OperatorError as error:
            response.message = str(error)
            return response
        response.turns = [_turn_message(turn) for turn in turns]
        response.success = True
        return response

    def _list(self, request: ListDialogues.Request, response: ListDialogues.Response) -> ListDialogues.Response:
        response.dialogues = [
            DialogueSummary(operator_id=one.operator, turns=one.turns, last_turn=one.last_turn, idle_s=one.idle_s)
            for one in self._dialogues.summaries()
        ]
        return response


def _turn_message(turn: Turn) -> DialogueTurn:
    answer = without_surrogates(turn.answer)
    return DialogueTurn(
        turn=turn.number,
        text=without_surrogates(turn.command),
        answer=answer,
        explanation=explanation_of(answer, [found.span for found in turn.objects if found.mask.any()]),
        objects=[
            object_message(found, Header(), name=object_name(found.phrase, turn.command))
            for found in turn.objects
            if found.mask.any()
        ],
        references=turn.references,
    )
