# SPDX-License-Identifier: Apache-2.0
"""The files for a cluster: what they give to the application is known there."""

from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("ray", reason="ray is not installed: see extra fleet in setup.py")

from ray.serve.schema import ServeDeploySchema

from lisa_ros.fleet import application
from lisa_ros.segmentation.errors import LisaError

CONFIG = Path(__file__).parents[2] / "config"


def serve_config(name: str) -> Any:
    found = yaml.safe_load((CONFIG / name).read_text())
    return yaml.safe_load(found["spec"]["serveConfigV2"]) if found.get("kind") == "RayService" else found


@pytest.mark.parametrize("name", ["fleet.yaml", "kuberay.yaml"])
def test_the_application_takes_the_arguments_of_the_file(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = ServeDeploySchema.model_validate(serve_config(name))
    built: list[application.ServerSettings] = []
    monkeypatch.setattr(application, "application", built.append)
    (one,) = config.applications
    assert one.import_path == "lisa_ros.fleet.application:build"
    application.build(dict(one.args))
    assert built[0].checkpoint == "xinlai/LISA-7B-v1" and built[0].load.quantization == "4bit"
    assert Path(built[0].tokens).is_absolute()


def test_kubernetes_gives_each_container_the_tokens_and_an_image() -> None:
    cluster = yaml.safe_load((CONFIG / "kuberay.yaml").read_text())["spec"]["rayClusterConfig"]
    tokens = Path(serve_config("kuberay.yaml")["applications"][0]["args"]["tokens"])
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        mounted = {
            one["name"] for one in pod["containers"][0]["volumeMounts"] if one["mountPath"] == str(tokens.parent)
        }
        assert mounted and mounted == {one["name"] for one in pod["volumes"]}
    assert cluster["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"]


def test_a_ray_that_does_not_start_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(**_: Any) -> None:
        raise Exception("The current node timed out\n  during startup.")

    monkeypatch.setattr(application.ray, "init", busy)
    settings, at = application.ServerSettings(), application.Listening("127.0.0.1", 8000, "/m")
    with pytest.raises(LisaError, match=r"Ray could not start: The current node timed out during startup\.$"):
        application.start(settings, at)
    with pytest.raises(LisaError, match="The Ray cluster gpu1:6379 cannot be used"):
        application.start(settings, at, "gpu1:6379")
