# SPDX-License-Identifier: Apache-2.0
"""Why a command is rejected when it arrives, before it is queued."""

from lisa_ros.dialogue.operators import OperatorError, operator_name
from lisa_ros.msg import Command
from lisa_ros.nodes.lisa.parameters import FIELD_BOUNDS, NodeParameters
from lisa_ros.nodes.lisa.request import Request
from lisa_ros.segmentation.answers import ANSWER_KINDS

_OUTPUTS = Command.OUTPUT_NO_MASKS | Command.OUTPUT_NO_FEEDBACK_MASKS | Command.OUTPUT_RUN_LENGTH_MASKS
_SHOWN = 20


def refusal_of(request: Request, parameters: NodeParameters) -> str | None:
    """The reason to reject a command, in one sentence; None: it can be queued."""
    longest = parameters.max_text_length
    if not any(letter.isprintable() and not letter.isspace() for letter in request.text):
        return "The text is empty (it has no printable character). It must name what to segment."
    if len(request.text) > longest:
        return f"The text has {len(request.text)} characters; max_text_length allows {longest}."
    if len(request.references) > max(1, parameters.max_turns):
        return f"The command has {len(request.references)} references; max_turns is {parameters.max_turns}."
    if (unknown := _unknown_choice(request)) is not None:
        return unknown
    if request.independent and request.references:
        return 'A command with dialogue "none" sees no earlier turn, so it cannot have references.'
    try:
        operator_name(request.operator_id)
    except OperatorError as error:
        return str(error)
    return None


def _unknown_choice(request: Request) -> str | None:
    options = request.options
    choices = {
        "answer": (request.answer, ANSWER_KINDS),
        "dialogue": (options.dialogue, ("continue", "none")),
        "split_objects": (options.split_objects, FIELD_BOUNDS["split_objects"].choices),
        "grip": (options.grip, FIELD_BOUNDS["grip"].choices),
    }
    for name, (value, known) in choices.items():
        if value and value not in known:
            return f"The command's {name} is {value[:_SHOWN]!r}; it must be {', '.join(map(repr, known))}, or empty."
    if options.outputs & ~_OUTPUTS:
        return (
            f"The command's outputs are {options.outputs}; they must be a sum of OUTPUT_ constants, at most {_OUTPUTS}."
        )
    return None
