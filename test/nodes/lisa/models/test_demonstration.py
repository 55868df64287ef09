# SPDX-License-Identifier: Apache-2.0
"""Nobody takes the demonstration model for another one: the log, diagnostics and ~/model_info name it."""

import sys
from unittest.mock import MagicMock

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from node_probe import probing
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_harness import started, wait_until

from lisa_ros.msg import ModelInfo
from lisa_ros.nodes.lisa.answers.model_info import ModelInfoTopic

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def test_the_demonstration_model_is_named_and_a_template_that_does_not_fit_too() -> None:
    command = [sys.executable, "-m", "lisa_ros.nodes.lisa.node", "--ros-args", "-r", "__node:=demonstrated"]
    arguments = ("-p", "template:=llava_llama_2", "-p", "dialogue_file:=''", "-p", "use_depth:=false")
    reported: list[DiagnosticStatus] = []
    infos: list[ModelInfo] = []
    with probing("demonstrated") as probe, started([*command, *arguments]) as process:
        probe.node.create_subscription(DiagnosticArray, "/diagnostics", lambda m: reported.extend(m.status), 10)
        probe.wait_for_node(process)
        # After the model was loaded: the topic is latched.
        probe.node.create_subscription(ModelInfo, "/demonstrated/model_info", infos.append, LATCHED)
        wait_until(lambda: infos, "the latched model_info")
        assert infos[-1].demonstration and infos[-1].checkpoint == "" and infos[-1].model.startswith("tabletop (")
        assert "14 kinds of objects of the simulated table" in infos[-1].note
        assert "understands English only, and marks at most two objects per command" in infos[-1].note
        wait_until(lambda: reported and reported[-1].message.startswith("No image"), "diagnostics")
        assert {value.key: value.value for value in reported[-1].values}["model"] == infos[-1].model
        wait_until(lambda: "set template to llava_v1" in process.output, "the warnings")
        warnings = [line for line in process.output.splitlines() if "[WARN]" in line]
        assert sum("the demonstration model runs" in line for line in warnings) == 1
        (template,) = [line for line in warnings if "template is llava_llama_2" in line]
        assert "set template to llava_v1" in template and "Traceback" not in process.output


def test_the_model_that_answers_now_is_named_and_none_twice() -> None:
    """With `fallback`, the local model's name stays on the latched topic only while it answers."""
    node, model = MagicMock(), MagicMock()
    node.get_clock.return_value.now.return_value.to_msg.return_value = Time()
    topic = ModelInfoTopic(node)
    for name in ("server", "server", "local", "server"):
        model.name = name
        topic.publish(model, "lisa://gpu1:8000/lisa7b")
    topic.publish(None, "")
    published = [call.args[0].model for call in node.create_publisher.return_value.publish.call_args_list]
    assert published == ["", "server", "local", "server", ""]
