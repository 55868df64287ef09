# SPDX-License-Identifier: Apache-2.0
"""The launch files: their shape always, real starts where `launch` and `launch_ros` are installed (not on PyPI)."""

import dataclasses
import importlib.util
import json
import os
import re
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

import pytest
from ament_index_python.packages import get_packages_with_prefixes
from paths import ROOT
from rclpy.parameter_client import AsyncParameterClient
from ros_harness import Process, started, talking_node, wait_until
from sensor_msgs.msg import Image
from std_msgs.msg import String

from lisa_ros.msg import Segmentation
from lisa_ros.nodes.common.endpoints import LATCHED
from lisa_ros.nodes.console.parameters import ConsoleParameters
from lisa_ros.nodes.lisa.parameters import FIELD_BOUNDS, TYPES, NodeParameters
from lisa_ros.nodes.sim_camera.node import SimCameraParameters

ONE, SEVERAL, DEMO, SPEECH = "lisa.launch.py", "multi_camera.launch.py", "demo.launch.py", "speech.launch.py"
TOPICS = {"image", "depth", "camera_info"}
SHARED = {
    "params_file",
    "checkpoint",
    "vision_tower",
    "template",
    "quantization",
    "device",
    "image_transport",
    "depth_transport",
    "use_depth",
    "use_sim_time",
    "respawn",
    "respawn_delay",
    "log_level",
    "fastdds_profile",
    "console",
    "console_host",
    "console_port",
}
ARGUMENTS = {
    ONE: {"namespace"} | TOPICS | SHARED,
    SEVERAL: {"cameras", "namespace"} | TOPICS | SHARED,
    SPEECH: {"namespace", "speech_params_file"} | TOPICS | SHARED,
    DEMO: {"namespace", "rviz", "seed", "width", "height", "rate_hz"} | SHARED,
}

# Several processes load models at once; only a broken one takes so long.
LOADED_S = 150.0

missing = [name for name in ("launch", "launch_ros") if importlib.util.find_spec(name) is None]
needs_launch = pytest.mark.skipif(bool(missing), reason=f"not installed here: {', '.join(missing)}")


@contextmanager
def launched(file: str, **given: object) -> Iterator[Process]:
    """A process that launches a file, as `ros2 launch` does; nothing that it started outlives it."""
    with started(launching(file, **given)) as process:
        wait_until(lambda: "group " in process.output, "the start")
        group = int(process.output.split("group ")[1].split()[0])
        try:
            yield process
        finally:
            process.end()
            # On a busy machine it is killed before it has ended its nodes.
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)


def launching(file: str, **given: object) -> list[str]:
    """The command line for that."""
    code = (
        "import os, sys; from launch import LaunchService; from launch.launch_description_sources import *;"
        "from launch.actions import IncludeLaunchDescription as Include;"
        "os.setpgrp(); print('group', os.getpid(), flush=True);"
        f"source = PythonLaunchDescriptionSource({str(ROOT / 'launch' / file)!r});"
        f"given = { ({name: str(value) for name, value in given.items()})!r};"
        "service = LaunchService(argv=[f'{name}:={value}' for name, value in given.items()]);"
        "service.include_launch_description(Include(source, launch_arguments=given.items()));"
        "sys.exit(service.run())"
    )
    return [sys.executable, "-c", code, file]


def module_of(file: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.split(".")[0] + "_file", ROOT / "launch" / file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_manual_names_every_file_and_argument() -> None:
    manual = (ROOT / "docs" / "interfaces.md").read_text().split("## Launch")[1]
    for file, arguments in ARGUMENTS.items():
        assert f"| `{file}` |" in manual
        for name in arguments:
            assert f"`{name}`" in manual, f"{file}: {name}"


def test_the_files_and_programs_that_are_named_exist() -> None:
    for name in ("config/lisa.yaml", "config/demo.rviz", "scripts/lisa_node", "scripts/sim_camera"):
        assert (ROOT / name).is_file(), name


@needs_launch
@pytest.mark.parametrize("file", ARGUMENTS)
def test_launch_declares_what_is_documented(file: str) -> None:
    from launch.actions import DeclareLaunchArgument

    entities = module_of(file).generate_launch_description().entities
    assert {entity.name for entity in entities if isinstance(entity, DeclareLaunchArgument)} == ARGUMENTS[file]


@needs_launch
def test_arguments_that_are_parameters_exist_in_the_nodes() -> None:
    from lisa_ros.nodes.common.launch_arguments import PARAMETERS

    declared = {entry.name for entry in dataclasses.fields(NodeParameters)} | {"use_sim_time"}
    assert set(PARAMETERS) <= declared
    for name in set(PARAMETERS) - {"use_sim_time"}:
        assert (PARAMETERS[name].kind, PARAMETERS[name].choices) == (TYPES[name], FIELD_BOUNDS[name].choices)
    assert set(module_of(DEMO).CAMERA) <= {entry.name for entry in dataclasses.fields(SimCameraParameters)}


@needs_launch
def test_arguments_have_the_bounds_of_the_parameters() -> None:
    from lisa_ros.nodes.common.launch_arguments import CONSOLE

    arguments = {**module_of(DEMO).CAMERA, "port": CONSOLE["console_port"]}
    fields = {
        one.name: one.metadata for kind in (SimCameraParameters, ConsoleParameters) for one in dataclasses.fields(kind)
    }
    for name, argument in arguments.items():
        assert argument.bounds == (fields[name]["least"], fields[name]["most"])


@needs_launch
@pytest.mark.parametrize("file", ARGUMENTS)
def test_a_misspelt_argument_starts_nothing(file: str) -> None:
    cameras = {"cameras": "front"} if file == SEVERAL else {}
    with launched(file, chekpoint="/models/LISA", **cameras) as process:
        assert process.wait() == 1
        assert f"no launch argument 'chekpoint' in {file}; is 'checkpoint' meant?" in process.output
        assert "process started" not in process.output


@needs_launch
@pytest.mark.parametrize(
    ("file", "argument", "value", "sentence"),
    [
        (ONE, "console_port", "abc", "console_port is 'abc'; it must be a whole number from 0 to 65535"),
        (ONE, "console_port", "99999", "console_port is '99999'; it must be a whole number from 0 to 65535"),
        (SEVERAL, "console_port", "-1", "console_port is '-1'; it must be a whole number from 0 to 65535"),
        (ONE, "console_host", "no.such.host.invalid", "host must be an address or a name of this machine"),
        (ONE, "device", "gpu", "device is 'gpu'; it must be one of auto, cpu, cuda"),
        (ONE, "kamera", "x", "no launch argument 'kamera' in lisa.launch.py; --show-args lists them"),
        (SPEECH, "respawn", "maybe", "respawn is 'maybe'; it must be true or false"),
        (SPEECH, "speech_params_file", "/no", "speech_params_file is '/no', and there is no such file"),
        (DEMO, "rviz", "no", "rviz is 'no'; it must be true or false"),
        (DEMO, "rate_hz", "nan", "rate_hz is 'nan'; it must be a number from 0.1 to 100.0"),
    ],
)
def test_a_wrong_value_starts_nothing(file: str, argument: str, value: str, sentence: str) -> None:
    cameras = {"cameras": "front"} if file == SEVERAL else {}
    with launched(file, **cameras, **{"console": "true", argument: value}) as process:
        assert process.wait() == 1
        assert sentence in process.output and "process started" not in process.output


INCLUDING = """
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import PushROSNamespace
def generate_launch_description():
    lisa = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(FILE), launch_arguments={"params_file": PARAMS, "respawn": "false"}.items()
    )
    own = DeclareLaunchArgument("use_respawn", default_value="false")
    return LaunchDescription([own, GroupAction([PushROSNamespace("robot1"), lisa])])
"""


@needs_launch
def test_a_launch_file_with_own_arguments_and_a_namespace_includes_ours(tmp_path: Path) -> None:
    params, file = tmp_path / "mine.yaml", tmp_path / "robot.launch.py"
    params.write_text("/**: {ros__parameters: {checkpoint: /no/such/folder}}\n")
    names = {"FILE": repr(str(ROOT / "launch" / ONE)), "PARAMS": repr(str(params))}
    file.write_text(re.sub("FILE|PARAMS", lambda found: names[found.group()], INCLUDING))
    with launched(str(file), use_respawn="false") as process:
        assert process.wait() == 0  # the launch ends with its only node
        assert "Could not load the checkpoint /no/such/folder" in process.output
        assert "robot1.lisa" in process.output
        assert "has no parameters for" not in process.output  # of a parameter file that launch_ros writes


@needs_launch
@pytest.mark.parametrize("argument", ["params_file", "fastdds_profile"])
def test_a_file_that_is_missing_starts_nothing(monkeypatch: pytest.MonkeyPatch, argument: str) -> None:
    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        monkeypatch.delenv(name, raising=False)
    with launched(ONE, **{argument: "/no/such/file"}) as process:
        assert process.wait() == 1
        assert f"{argument} is '/no/such/file', and there is no such file" in process.output
        assert "process started" not in process.output


@needs_launch
def test_a_node_that_dies_is_started_again() -> None:
    given = {"checkpoint": "/no/such/folder", "respawn_delay": 0.1, "use_sim_time": True}
    with launched(ONE, **given) as process:
        wait_until(lambda: process.output.count("Could not load the checkpoint") >= 2, "the second start")
    with launched(ONE, **given, respawn=False) as process:
        assert process.wait() == 0  # the launch ends with its only node
        assert process.output.count("process started") == 1


@needs_launch
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nodes_do_not_outlive_a_launch_that_is_ended_alone(number: signal.Signals) -> None:
    """At SIGTERM, launch itself ends without ending what it started."""
    with launched(DEMO, rviz=False, console=True, console_port=0) as process:
        wait_until(lambda: process.output.count("process started with pid") == 3, "the processes")
        children = [int(one) for one in re.findall(r"process started with pid \[(\d+)\]", process.output)]
        wait_until(lambda: "Ready" in process.output, "the node", LOADED_S)
        process.send_signal(number)
        process.wait()
        wait_until(lambda: not any(Path(f"/proc/{child}").exists() for child in children), "the end of the nodes")


@needs_launch
@pytest.mark.parametrize("checkpoint", ["/no/such/folder", "0123"])  # the second is a text too
def test_launch_starts_the_node_with_what_was_given(checkpoint: str) -> None:
    given = {"namespace": "left", "image": "/camera/colour", "checkpoint": checkpoint, "device": "cpu"}
    with launched(ONE, **given) as process:
        wait_until(
            lambda: (
                f"Could not load the checkpoint {checkpoint}:" in process.output and "exit code 1" in process.output
            ),
            "the node's refusal",
        )
        assert "left.lisa" in process.output


@needs_launch
def test_each_camera_gets_a_node_in_its_own_namespace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ROS_HOME", str(tmp_path))  # dialogues of other nodes stay where they are
    given = {"cameras": "front, wrist", "namespace": "robot", "image": "/{camera}/colour", "device": "cpu"}
    given |= {"depth": "/{camera}/depth", "camera_info": "/{camera}/info"}
    with launched(SEVERAL, **given) as process, talking_node("somebody") as node:
        depth_of_wrist = lambda: node.count_subscribers("/wrist/depth")  # noqa: E731
        wait_until(depth_of_wrist, "the subscription to depth", LOADED_S)
        for name in ("front", "wrist"):
            ready = f"images from /{name}/colour"
            wait_until(lambda ready=ready: ready in process.output, f"the node of {name}", LOADED_S)
            assert f"robot.{name}.lisa" in process.output
    assert len(list((tmp_path / "lisa_ros").glob("*.sqlite"))) == 2


@needs_launch
def test_speech_has_the_checkpoints_vocabulary_and_the_page_and_comes_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("moonshine_voice")
    monkeypatch.setenv("ROS_HOME", str(tmp_path))
    given = {"checkpoint": "/no/such/folder", "console": True, "console_port": 0, "respawn_delay": 0.1}
    with launched(SPEECH, **given) as process, talking_node("somebody") as node:
        wait_until(lambda: "Ready: moonshine" in process.output, "the node speech", LOADED_S)
        wait_until(lambda: "http://127.0.0.1:" in process.output, "the page")
        speech = AsyncParameterClient(node, "speech")
        wait_until(speech.services_are_ready, "its parameters")
        asked = speech.get_parameters(["checkpoint"])
        wait_until(asked.done, "its checkpoint")
        assert asked.result().values[0].string_value == "/no/such/folder"
        started_pid = re.search(r"\[speech-2\]: process started with pid \[(\d+)\]", process.output)
        assert started_pid is not None
        os.kill(int(started_pid[1]), signal.SIGKILL)
        wait_until(lambda: process.output.count("[speech-2]: process started") == 2, "the second start")


@needs_launch
def test_all_cameras_share_a_checkpoint_and_a_parameter_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("/**: {ros__parameters: {dialogue_file: '', quantization: 8bit}}\n")
    given = {"cameras": "a,b", "checkpoint": "/no/such/folder", "params_file": str(file)}
    with launched(SEVERAL, **given) as process:
        wait_until(
            lambda: process.output.count("Loading the checkpoint /no/such/folder (quantization 8bit)") == 2,
            "both nodes",
        )


@needs_launch
@pytest.mark.parametrize("cameras", ["", " , ", "front,front", "front,2nd", "front camera"])
def test_cameras_that_cannot_be_namespaces_are_refused(cameras: str) -> None:
    with pytest.raises(ValueError, match="it must be different names of letters"):
        module_of(SEVERAL).camera_names(cameras)


@needs_launch
def test_a_wrong_list_of_cameras_is_said_and_nothing_starts() -> None:
    with launched(SEVERAL, cameras="front,front") as process:
        assert process.wait() == 1
        assert "cameras is 'front,front'; it must be different names" in process.output
        assert "process started" not in process.output


@needs_launch
def test_the_demo_answers_about_its_own_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ROS_HOME", str(tmp_path))
    answers: list[Segmentation] = []
    given = {"width": 320, "height": 240, "rviz": rviz_wanted(), "device": "cpu", "namespace": "here"}
    with launched(DEMO, **given) as process, talking_node("somebody") as node:
        node.create_subscription(Segmentation, "/here/lisa/segmentation", answers.append, LATCHED)
        say = node.create_publisher(String, "/here/lisa/command_text", 10)
        wait_until(lambda: "Ready:" in process.output and say.get_subscription_count(), "the node", LOADED_S)
        wait_until(
            lambda: node.count_publishers("/here/image") and node.count_publishers("/here/lisa/segmentation"), "topics"
        )

        def answered() -> bool:
            # The first images may still be on their way.
            if not answers or answers[-1].status == Segmentation.NO_IMAGE:
                count = len(answers)
                say.publish(String(data="Where is the blue bottle?"))
                wait_until(lambda: len(answers) > count, "an answer")
            return answers[-1].status == Segmentation.OK

        wait_until(answered, "an object")
        assert answers[-1].header.frame_id == "camera_color_optical_frame"
        assert ("rviz2 is not installed" in process.output) == (given["rviz"] == "true")


def rviz_wanted() -> str:
    """Where RViz is installed, it is left out, since it needs a screen."""
    return json.dumps("rviz2" not in get_packages_with_prefixes())


@needs_launch
def test_console_true_starts_the_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ROS_HOME", str(tmp_path))
    given = {"console": "true", "console_port": 0, "device": "cpu", "image": "/camera/colour", "namespace": "robot"}
    with launched(ONE, **given) as process, talking_node("somebody") as node:
        address = wait_until(lambda: re.search(r"http://127\.0\.0\.1:(\d+)", process.output), "the page's address")
        wait_until(lambda: "Ready:" in process.output, "the node", LOADED_S)
        camera = node.create_publisher(Image, "/camera/colour", 1)
        wait_until(lambda: "robot.console" in process.output, "the console's namespace")
        with urllib.request.urlopen(address.group(), timeout=10.0) as page:
            assert page.status == 200 and b"<html" in page.read()

        def healthy() -> bool:
            camera.publish(Image(width=4, height=4, step=12, encoding="rgb8", data=bytes(48)))
            with suppress(urllib.error.HTTPError), urllib.request.urlopen(f"{address.group()}/healthz") as health:
                return health.status == 200
            return False

        wait_until(healthy, "the console's node and camera")
