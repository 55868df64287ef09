# SPDX-License-Identifier: Apache-2.0
"""Loads the model that the parameters name, and logs the progress."""

import logging
import resource
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.logging import get_logger
from rclpy.node import Node

from lisa_ros.fleet.connection import UnreachableError, is_remote
from lisa_ros.fleet.fallback import FallbackSegmenter
from lisa_ros.fleet.remote_segmenter import RemoteSegmenter, RemoteSettings
from lisa_ros.fleet.requests import MOST_ANSWER_S
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.loading import combined, embedded_checkpoint, load_segmenter
from lisa_ros.models.registry import registry
from lisa_ros.nodes.lisa.answers.model_info import DEMONSTRATION
from lisa_ros.nodes.lisa.parameters import NodeParameters
from lisa_ros.nodes.lisa.tracking.trackers import tracker_from_parameters
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.interface import DeviceMemory, Segmenter
from lisa_ros.segmentation.text import detail_of
from lisa_ros.tracking.interface import Tracker

LOG_PERIOD_S = 5.0
_LOG = logging.getLogger(__name__)

Load = Callable[[NodeParameters], Segmenter]


class LoadError(RuntimeError):
    """The model or the stored dialogues could not be loaded; the text is one sentence."""


def load_logged(load: Load, parameters: NodeParameters, log: RcutilsLogger) -> Segmenter:
    """Load a model, and log what is loaded and what is wrong with the models of other packages.

    Raises:
        LoadError: `load` raised an error.
    """
    checkpoint = f"checkpoint {parameters.checkpoint}" if parameters.checkpoint else "embedded checkpoint"
    if not parameters.checkpoint:
        log.warning(DEMONSTRATION)
    for sentence in registry().broken:
        log.warning(sentence)
    log.info(f"Loading the {checkpoint} (quantization {parameters.quantization}) ...")
    try:
        return load(parameters)
    except BaseException as error:  # whatever a model raises, SystemExit too
        log.debug(traceback.format_exc())
        raise LoadError(f"Could not load the {checkpoint}: {type(error).__name__}: {error}") from error


def load_tracker(parameters: NodeParameters) -> Tracker:
    """Load the tracker.

    Raises:
        LoadError: It could not be loaded.
    """
    try:
        return tracker_from_parameters(parameters)
    except BaseException as error:
        _LOG.debug(traceback.format_exc())
        kind = "" if isinstance(error, LisaError) else f"{type(error).__name__}: "
        raise LoadError(f"Could not load the tracker: {kind}{error}") from error


def load_from_parameters(parameters: NodeParameters) -> Segmenter:
    """Load the checkpoint that the parameters name, or connect to the server that they name."""
    if is_remote(parameters.checkpoint):
        return combined(_connect(parameters), _load_options(parameters))
    return load_segmenter(parameters.checkpoint or embedded_checkpoint(), _load_options(parameters))


def _load_options(parameters: NodeParameters) -> LoadOptions:
    return LoadOptions(
        template=parameters.template,
        precision=parameters.precision,
        quantization=parameters.quantization,
        device=parameters.device,
        vision_tower=parameters.vision_tower or None,
        cache_mib=parameters.cache_mib,
        threads=parameters.threads,
        memory_limit_mib=parameters.memory_limit_mib,
        deterministic=parameters.deterministic,
        model_options=tuple(one.strip() for one in parameters.model_options.split(";") if one.strip()),
        refine_masks=parameters.refine,
        refine_checkpoint=parameters.refine_checkpoint,
        segmenter=parameters.segmenter,
        names_checkpoint=parameters.names_checkpoint,
    )


def _connect(parameters: NodeParameters) -> Segmenter:
    """Connect to a server. With a fallback, the node starts even while the server cannot be reached."""
    settings = RemoteSettings(
        token=parameters.remote_token,
        timeout_s=parameters.remote_timeout,
        jpeg_quality=parameters.remote_jpeg_quality,
        certificate=parameters.remote_certificate,
        answer_s=_answer_s(parameters),
    )
    remote = RemoteSegmenter(parameters.checkpoint, settings)
    if parameters.fallback == "none":
        remote.check()
        return remote
    checkpoint = embedded_checkpoint() if parameters.fallback == "embedded" else parameters.fallback
    alone = replace(_load_options(parameters), refine_masks="none", segmenter="checkpoint")
    local = load_segmenter(checkpoint, alone)  # the second models are for both
    both = FallbackSegmenter(remote, local, get_logger("lisa").warning)
    try:
        remote.check()
    except UnreachableError as error:
        both.lose(error)
    return both


def release_logged(segmenter: Segmenter, log: RcutilsLogger) -> None:
    """Release a model; a model of another package that raises an error then must not end the node."""
    try:
        segmenter.release()
    except BaseException as error:
        log.error(f"The model could not be released: {type(error).__name__}: {detail_of(str(error))}")


def memory_of(segmenter: Segmenter) -> DeviceMemory:
    """The model's memory on the GPU; nothing where a model of another package cannot say."""
    try:
        memory = segmenter.memory()
    except Exception:
        return DeviceMemory()
    return memory if isinstance(memory, DeviceMemory) else DeviceMemory()


def follow_answer_timeout(segmenter: Segmenter, parameters: NodeParameters) -> None:
    """Let a server that segments keep to the present `answer_timeout`, from the next command on."""
    model = _of_checkpoint(segmenter)
    remote = model.remote if isinstance(model, FallbackSegmenter) else model
    if isinstance(remote, RemoteSegmenter):
        remote.answer_s = _answer_s(parameters)


def model_trouble(segmenter: Segmenter) -> str:
    """A sentence while `fallback` answers because the server cannot; otherwise empty."""
    model = _of_checkpoint(segmenter)
    if not isinstance(model, FallbackSegmenter) or not model.is_local:
        return ""
    local = model.name_of(local=True)
    return f"The server cannot be reached; the local model {local} answers (fallback). The log has the reason."


def _of_checkpoint(segmenter: Segmenter) -> Any:
    """The parameter checkpoint's model, of several models in one (`refine`, `segmenter`)."""
    inner: Any = segmenter
    for name in ("refined", "reasoning"):
        inner = getattr(inner, name, inner)
    return inner


def _answer_s(parameters: NodeParameters) -> float:
    return parameters.answer_timeout or MOST_ANSWER_S


@contextmanager
def loading_reports(node: Node) -> Iterator[None]:
    """Log a line every LOG_PERIOD_S while the block runs."""
    done = threading.Event()
    thread = threading.Thread(target=_report, args=(node, done), name="lisa_loading", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _report(node: Node, done: threading.Event) -> None:
    began_s = time.monotonic()
    while not done.wait(LOG_PERIOD_S):
        megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000
        elapsed_s = time.monotonic() - began_s
        node.get_logger().info(f"Still loading after {elapsed_s:.0f} s; the process uses {megabytes} MB.")
