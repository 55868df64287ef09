# SPDX-License-Identifier: Apache-2.0
"""The tracker that the parameters name."""

from lisa_ros.models.common.checkpoints.hub import find_folder
from lisa_ros.nodes.lisa.parameters import NodeParameters, ParameterError
from lisa_ros.tracking.flow import FlowTracker
from lisa_ros.tracking.interface import Tracker
from lisa_ros.tracking.video_models import KINDS, load_video_tracker


def tracker_from_parameters(parameters: NodeParameters) -> Tracker:
    """Load the tracker.

    Raises:
        LisaError: The parameters do not fit together, or the checkpoint cannot be used.
    """
    kind, checkpoint = parameters.tracker, parameters.tracker_checkpoint
    if kind == "flow":
        if checkpoint:
            raise ParameterError(f"tracker_checkpoint is {checkpoint}, but tracker is flow, which has none.")
        return FlowTracker()
    if not checkpoint:
        raise ParameterError(
            f"tracker is {kind}; tracker_checkpoint must name its model, such as {KINDS[kind].example}."
        )
    return load_video_tracker(kind, find_folder(checkpoint, "tracker checkpoint"), parameters.device)
