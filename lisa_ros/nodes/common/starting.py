# SPDX-License-Identifier: Apache-2.0
"""Starts and ends ROS in a program. A mistake on the command line ends the program with one sentence."""

import contextlib
import ctypes
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import rclpy
from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from lisa_ros.nodes.common.guarding import GuardedExecutor
from lisa_ros.nodes.common.memory import use_one_arena
from lisa_ros.nodes.common.threads import use_one_blas_thread

NodeT = TypeVar("NodeT", bound=Node)

MAX_END_S = 5.0
"""Maximum time from a signal to the end of a process of `run_node`, in seconds: ros2 launch repeats the signal then."""

PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
"""The environment variables of Fast DDS 2 and Fast DDS 3 that name a profile."""
NO_PROFILE_VARIABLE = "LISA_ROS_NO_FASTDDS_PROFILE"
"""If this environment variable is set, Fast DDS's own defaults are used."""
END_WITH_PARENT_VARIABLE = "LISA_ROS_END_WITH_PARENT"
"""If this environment variable is set, a program gets SIGTERM when the process that started it ends."""
_PR_SET_PDEATHSIG = 1


class StartError(RuntimeError):
    """ROS could not start; the text is one sentence."""


START_ERRORS = (StartError, ParameterException)
"""ROS could not start, or rclpy refuses a parameter's value, such as `use_sim_time:=1`; the text is one sentence."""


def start_ros(args: Sequence[str] | None, signals: SignalHandlerOptions) -> None:
    """Call rclpy.init, after which all threads share one malloc arena and BLAS uses one thread.

    Args:
        args: The command line, with --ros-args; None: the process's own.
        signals: The signals that rclpy handles.

    Raises:
        StartError: The arguments after --ros-args are invalid.
    """
    _end_with_parent()
    use_one_arena()
    use_one_blas_thread()
    try:
        rclpy.init(args=None if args is None else list(args), signal_handler_options=signals)
    except RuntimeError as error:
        # rcl appends positions in its source code.
        reason = " ".join(str(error).split(", at /")[0].split())
        if "parameter override rule" in reason:
            reason += "; a parameter is given as NAME:=VALUE, an empty text as NAME:=''"
        raise StartError(f"ROS could not start; check the arguments after --ros-args: {reason}") from error


def _end_with_parent() -> None:
    """Let the kernel send SIGTERM when the parent ends (prctl(2)), if the environment asks for it."""
    if sys.platform == "linux" and os.environ.get(END_WITH_PARENT_VARIABLE):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def at_signals(act: Callable[[], object], *others: signal.Signals) -> None:
    """SIGINT, SIGTERM and others call a function from now on, instead of ending the process.

    Another one that is ignored stays so: nohup(1) makes a program ignore SIGHUP.
    """
    for number in (signal.SIGINT, signal.SIGTERM, *others):
        if number not in others or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: act())


class Stop:
    """Asks the main thread to end the process.

    Unlike threading.Event, it may be set by a signal handler that interrupts `wait`: the handler would wait for ever
    for the lock that the interrupted wait holds.
    """

    def __init__(self) -> None:
        """Not set."""
        self._set: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._is_set = False

    def set(self) -> None:
        """Set it; from any thread or signal handler."""
        self._is_set = True
        self._set.put(None)

    def is_set(self) -> bool:
        """Whether it was set."""
        return self._is_set

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it is set, on one thread only; returns whether it is."""
        if not self._is_set:
            with contextlib.suppress(queue.Empty):
                self._set.get(timeout=timeout_s)
        return self._is_set

    def at_signals(self, *others: signal.Signals) -> None:
        """SIGINT, SIGTERM and others set it from now on, instead of ending the process."""
        at_signals(self.set, *others)


def run_node(make: Callable[[], NodeT], stop: Stop, close: Callable[[NodeT], bool] | None = None) -> None:
    """Make a node and run it until `stop` is set; after that, the process ends within MAX_END_S.

    The node has a thread of its own, so that the main thread can handle signals at any time. rclpy's own signal
    handlers shut ROS down in the middle of a callback or of the executor, which then fail.

    Args:
        make: Makes the node; may take time.
        stop: Set by signals; ROS must have been started without rclpy's own handlers.
        close: Ends the node's threads; returns whether all have ended.

    Raises:
        Exception: The node could not be made, or its executor failed.
    """
    running = _Running(make, stop, close)
    running.start()
    stop.wait()
    timer = threading.Timer(MAX_END_S, _exit_now, args=(0, f"The node did not end within {MAX_END_S:g} s."))
    timer.daemon = True
    timer.start()
    running.end()
    rclpy.try_shutdown()
    if running.left_threads:  # Python would wait for them, or crash with them
        if running.error is not None:
            traceback.print_exception(running.error)
        _exit_now(int(running.error is not None), "A thread of the node still runs; the process ends without it.")
    timer.cancel()
    if running.error is not None:
        raise running.error


class _Running(threading.Thread):
    """A node and its executor on a thread."""

    def __init__(self, make: Callable[[], Any], stop: Stop, close: Callable[[Any], bool] | None) -> None:
        super().__init__(name="executor", daemon=True)
        self.error: Exception | None = None
        self.left_threads = False
        self._make, self._asked_to_stop, self._close = make, stop, close
        self._made = threading.Event()
        self._executor = GuardedExecutor()

    def run(self) -> None:
        """See threading."""
        try:
            node = self._make()
            self._made.set()
            try:
                self._executor.add_node(node)
                while rclpy.ok() and not self._asked_to_stop.is_set():
                    self._executor.spin_once()
            finally:
                self.left_threads = self._close is not None and not self._close(node)
                node.destroy_node()
        except Exception as error:
            if rclpy.ok():  # else a consequence of `end`
                self.error = error
        finally:
            self._asked_to_stop.set()

    def end(self) -> None:
        """Ends the node, also while it is made."""
        if not self._made.is_set():
            rclpy.try_shutdown()
        # Wakes the executor; its shutdown by another thread can fail in the midst of its work.
        self._executor.create_task(lambda: None)
        self.join()


def _exit_now(code: int, reason: str) -> None:
    print(reason, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def use_fastdds_profile() -> None:
    """Make Fast DDS use config/fastdds.xml, for programs that publish images; a profile that is set already is kept.

    It must be called before `start_ros`. Other middleware ignores it.
    """
    try:
        profile = Path(get_package_share_directory("lisa_ros")) / "config" / "fastdds.xml"
    except PackageNotFoundError:  # the package is not installed, only on the Python path
        return
    own = any(os.environ.get(name) for name in (NO_PROFILE_VARIABLE, *PROFILE_VARIABLES))
    if profile.is_file() and not own:
        for name in PROFILE_VARIABLES:
            os.environ[name] = str(profile)
