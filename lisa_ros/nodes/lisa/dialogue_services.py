# SPDX-License-Identifier: Apache-2.0
"""The services that show and forget operators' dialogues, and the file that the node keeps them in."""

import os
from pathlib import Path

from rclpy.node import Node

from lisa_ros.dialogue.dialogues import Dialogues, OperatorError, operator_name
from lisa_ros.dialogue.store import DialogueStore
from lisa_ros.msg import DialogueSummary
from lisa_ros.nodes.common.guarding import guarded_by
from lisa_ros.srv import ListDialogues, ResetDialogue

AUTO = "auto"


def open_dialogues(file: str, node_name: str) -> Dialogues:
    """The dialogues that were kept.

    Args:
        file: where; AUTO: a file of the node's own in ROS's folder; empty: in memory alone.
        node_name: fully qualified.

    Raises:
        StoreError: they cannot be kept there.
    """
    if not file:
        return Dialogues()
    path = _own_file(node_name) if file == AUTO else Path(file).expanduser()
    return Dialogues(store=DialogueStore(path))


def _own_file(node_name: str) -> Path:
    home = Path(os.environ.get("ROS_HOME") or Path.home() / ".ros")
    return home / "lisa_ros" / f"{node_name.strip('/').replace('/', '.')}.sqlite"


class DialogueServices:
    """`~/reset_dialogue` and `~/list_dialogues`."""

    def __init__(self, node: Node, dialogues: Dialogues) -> None:
        """Create the services on the node."""
        self._dialogues = dialogues
        node.create_service(ResetDialogue, "~/reset_dialogue", guarded_by(node, self._reset))
        node.create_service(ListDialogues, "~/list_dialogues", guarded_by(node, self._list))

    def _reset(self, request: ResetDialogue.Request, response: ResetDialogue.Response) -> ResetDialogue.Response:
        try:
            operator = operator_name(request.operator_id)
        except OperatorError as error:
            response.message = str(error)
            return response
        response.turns = self._dialogues.reset(operator)
        response.success = True
        return response

    def _list(self, request: ListDialogues.Request, response: ListDialogues.Response) -> ListDialogues.Response:
        response.dialogues = [
            DialogueSummary(operator_id=one.operator, turns=one.turns, last_turn=one.last_turn, idle_s=one.idle_s)
            for one in self._dialogues.summaries()
        ]
        return response
