# SPDX-License-Identifier: Apache-2.0
"""A disk that becomes full while the node runs, and dialogue files that cannot be used, with lisa_node as a process."""

import re
import resource
import signal
from pathlib import Path

import camera_images
from diagnostic_msgs.msg import DiagnosticArray
from node_probe import Probe, probing
from ros_harness import scripted_node, started, wait_until

from lisa_ros.msg import Segmentation

NO_LIMIT = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


def history(probe: Probe) -> str:
    return str(probe.ask("history", "ann").answer)


def test_a_full_disk_delays_turns_and_costs_none(tmp_path: Path) -> None:
    """No file of the node's process may grow, as on a full disk; then there is room again, and the node is killed."""
    file = tmp_path / "dialogues.sqlite"
    arguments = ("-r", "__node:=full", "-p", f"dialogue_file:={file}", "-p", "max_image_age:=0.0")
    with probing("full") as probe, started(scripted_node(*arguments)) as process:
        diagnostics: list[DiagnosticArray] = []
        probe.node.create_subscription(DiagnosticArray, "/diagnostics", diagnostics.append, 10)
        probe.wait_for_node(process)
        probe.ask_about(camera_images.message("rgb8"), "two")

        def level_is(level: bytes, sentence: str = "") -> bool:
            status = diagnostics[-1].status[0] if diagnostics else None
            return status is not None and status.level == level and sentence in status.message

        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        assert [probe.ask("two", "ann").turn for _ in range(3)] == [1, 2, 3]
        assert process.alive
        wait_until(lambda: level_is(b"\x01", "cannot be written to dialogue_file"), "a warning")
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, NO_LIMIT)
        wait_until(lambda: level_is(b"\x00"), "the end of the warning")
        process.send_signal(signal.SIGKILL)
        process.wait()
    with probing("full") as probe, started(scripted_node(*arguments)) as process:
        probe.wait_for_node(process)
        probe.ask_about(camera_images.message("rgb8"), "two")
        assert history(probe) == "History: two | two | two"


def test_a_dialogue_file_that_is_moved_deleted_or_replaced_by_a_folder_costs_no_turn(tmp_path: Path) -> None:
    """One after the other while the node runs; at the end it is killed, and the next one continues the dialogue."""
    file = tmp_path / "dialogues.sqlite"
    arguments = ("-r", "__node:=lost", "-p", f"dialogue_file:={file}", "-p", "max_image_age:=0.0")
    with probing("lost") as probe, started(scripted_node(*arguments)) as process:
        diagnostics: list[DiagnosticArray] = []
        probe.node.create_subscription(DiagnosticArray, "/diagnostics", diagnostics.append, 10)
        probe.wait_for_node(process)
        probe.ask_about(camera_images.message("rgb8"), "two")
        assert probe.ask("two", "ann").turn == 1

        file.chmod(0o444)
        file.rename(tmp_path / "moved.sqlite")
        wait_until(file.exists, "a new file without any command")
        sentence = rf"\[ERROR\] \[.*\] \[lost\]: The dialogue file {file} was deleted or moved"
        wait_until(lambda: re.search(sentence, process.output), "the reason in the log")
        wait_until(lambda: process.output.count("nothing was lost") == 1, "the sentence that all is well again")

        file.unlink()
        assert probe.ask("two", "ann").turn == 2
        assert file.exists(), "before the answer"

        file.unlink()
        file.mkdir()
        assert probe.ask("two", "ann").turn == 3
        sentence = "cannot be written to dialogue_file"
        wait_until(lambda: sentence in diagnostics[-1].status[0].message, "a warning")
        assert diagnostics[-1].status[0].level == b"\x01"
        for reason in ("was replaced by a folder", "unable to open database file"):
            wait_until(lambda reason=reason: reason in process.output, "the reason in the log")
        file.rmdir()
        wait_until(lambda: diagnostics[-1].status[0].level == b"\x00", "the end of the warning")
        process.send_signal(signal.SIGKILL)
        process.wait()
    with probing("lost") as probe, started(scripted_node(*arguments)) as process:
        probe.wait_for_node(process)
        probe.ask_about(camera_images.message("rgb8"), "two")
        assert history(probe) == "History: two | two | two"


def test_a_corrupted_file_is_kept_aside_and_a_second_node_on_one_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "dialogues.sqlite"
    file.write_bytes(b"\xff" * 5000)
    arguments = ("-p", f"dialogue_file:={file}", "-p", "max_image_age:=0.0")
    with probing("first") as probe, started(scripted_node("-r", "__node:=first", *arguments)) as process:
        probe.wait_for_node(process)
        assert probe.ask_about(camera_images.message("rgb8"), "two").status == Segmentation.OK
        (aside,) = tmp_path.glob("dialogues.sqlite.damaged-*")
        assert aside.read_bytes() == b"\xff" * 5000
        wait_until(lambda: f"is kept as {aside}" in process.output, "the warning in the log")
        with started(scripted_node("-r", "__node:=second", *arguments)) as second:
            assert second.wait() == 1
            assert "another node has it open" in second.output and "Traceback" not in second.output
        assert probe.ask("two", "ann").turn == 1, "the first node works on"
