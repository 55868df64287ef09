# SPDX-License-Identifier: Apache-2.0
"""The package as a package: metadata agree with each other, with what is installed and with what is imported."""

import ast
import importlib.metadata
import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ament_index_python.packages import get_package_prefix, get_package_share_directory
from catkin_pkg.package import Package, parse_package
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from paths import ROOT
from rclpy.serialization import deserialize_message, serialize_message

import lisa_ros
from lisa_ros.msg import Command, ObjectMask, Segmentation
from lisa_ros.segmentation import lettering
from lisa_ros.segmentation.errors import how_to_install
from lisa_ros.srv import ResetDialogue

# Modules whose distribution has another name.
DISTRIBUTION_OF_MODULE = {
    "PIL": "pillow",
    "cv2": "opencv-python",
    "opentelemetry": "opentelemetry-api",
    "pybullet_data": "pybullet",
    "yaml": "pyyaml",
}
# Packages of ROS that package.xml names by themselves.
MODULES_OF_ROS = {"lisa_ros", "cv_bridge", "launch", "launch_ros"}
# The benchmark of the console's page says that it needs the extra `test`.
MODULES_OF_TESTS = {"playwright"}


def setup_lists() -> tuple[list[str], dict[str, list[str]]]:
    names = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse((ROOT / "setup.py").read_text()).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    return names["INSTALL_REQUIRES"], names["EXTRAS_REQUIRE"]


def constraints() -> list[Requirement]:
    lines = (line.split("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines())
    return [Requirement(line) for line in lines if line]


def tracked_files() -> list[Path]:
    if shutil.which("git") is None:
        pytest.skip("git is not installed, and only it knows which files are the project's")
    # Also files that are new and not ignored, so that a fault shows before it is committed.
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def imported_modules() -> set[str]:
    modules: set[str] = set()
    for path in (ROOT / "lisa_ros").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules.update(alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                modules.add(node.module.split(".")[0])
    return modules - set(sys.stdlib_module_names)


@pytest.fixture(scope="module")
def manifest() -> Package:
    return parse_package(str(ROOT / "package.xml"))


def test_package_xml_is_valid_and_complete(manifest: Package) -> None:
    warnings: list[str] = []
    manifest.validate(warnings=warnings)
    assert warnings == []
    assert manifest.package_format == 3
    assert manifest.licenses == ["Apache-2.0"]
    assert (ROOT / "LICENSE").read_text().lstrip().startswith("Apache License")
    assert [group.name for group in manifest.member_of_groups] == ["rosidl_interface_packages"]


def test_versions_agree(manifest: Package) -> None:
    assert manifest.version == lisa_ros.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert "## [Unreleased]" in changelog or f"## [{manifest.version}]" in changelog


def test_setup_py_states_the_same_version() -> None:
    stated = subprocess.run(
        [sys.executable, "setup.py", "--version"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert stated.stdout.split()[-1] == lisa_ros.__version__


def test_pins_are_what_is_installed() -> None:
    installed = {canonicalize_name(found.name): found.version for found in importlib.metadata.distributions()}
    if os.environ.get("ROS_DISTRO"):
        pytest.skip("ROS 2 is sourced: some packages are the system's")
    differing = {
        pin.name: (str(pin.specifier), installed[canonicalize_name(pin.name)])
        for pin in constraints()
        if (pin.marker is None or pin.marker.evaluate())
        and canonicalize_name(pin.name) in installed
        and installed[canonicalize_name(pin.name)] not in pin.specifier
    }
    assert differing == {}


def test_every_name_in_setup_py_is_pinned_for_each_python() -> None:
    required, extras = setup_lists()
    names = {canonicalize_name(Requirement(line).name) for line in [*required, *itertools.chain(*extras.values())]}
    for minor in (11, 12, 13, 14):
        environment = {"python_version": f"3.{minor}"}
        pinned = [
            canonicalize_name(pin.name)
            for pin in constraints()
            if pin.marker is None or Marker(str(pin.marker)).evaluate(environment)
        ]
        assert names - set(pinned) == set()
        assert len(pinned) == len(set(pinned)), "a package is pinned twice"


def test_a_font_of_the_overlays_is_installed_by_rosdep(manifest: Package) -> None:
    """rosdep's key fonts-roboto brings Roboto-Regular.ttf; it has no key for DejaVu."""
    assert "fonts-roboto" in {dependency.name for dependency in manifest.exec_depends}
    assert "Roboto-Regular.ttf" in lettering._FONTS


def test_make_setup_installs_every_extra() -> None:
    """What a target alone needs is in the other ones' arguments; build and ros are added where there is no ROS;
    supply has an environment of its own."""
    line = next(line for line in (ROOT / "tools/setup_python.bash").read_text().splitlines() if "all_extras=" in line)
    _, extras = setup_lists()
    assert set(line.split('"')[1].split()) == set(extras) - {"build", "ros", "supply"}


def test_what_the_package_imports_is_named(manifest: Package) -> None:
    required, extras = setup_lists()
    named = [*required, *extras["console"], *extras["fleet"], *extras["sim"], *extras["speech"], *extras["train"]]
    from_pip = {canonicalize_name(Requirement(line).name) for line in named}
    from_ros = {dependency.name for dependency in manifest.exec_depends} | MODULES_OF_ROS
    unnamed = {
        module
        for module in imported_modules() - from_ros - MODULES_OF_TESTS
        if canonicalize_name(DISTRIBUTION_OF_MODULE.get(module, module)) not in from_pip
    }
    assert unnamed == set()


def test_an_answer_survives_serialization() -> None:
    answer = Segmentation(id="7", text="the red mug", status=Segmentation.OK, answer="Sure, [SEG].", total_ms=12.5)
    answer.header.frame_id = "camera"
    found = ObjectMask(pixels=6, span_begin=6, span_end=11)
    found.mask.data = bytes([0, 255] * 3)
    answer.objects = [found]
    assert deserialize_message(serialize_message(answer), Segmentation) == answer


def test_a_command_and_a_service_survive_serialization() -> None:
    command = Command(text="hand me that", operator_id="ann", references=[1, 2])
    assert deserialize_message(serialize_message(command), Command) == command
    request = ResetDialogue.Request(operator_id="ann")
    assert deserialize_message(serialize_message(request), ResetDialogue.Request) == request


PROGRAMS = [*(f"lib/lisa_ros/{name}" for name in ("console", "lisa_node", "sim_camera", "speech")), "bin/lisa"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_executables_are_in_the_overlay(name: str) -> None:
    program = Path(get_package_prefix("lisa_ros")) / name
    assert os.access(program, os.X_OK)
    module = re.search(r"^ *from (\S+) import main$", program.read_text(), re.MULTILINE)
    assert module is not None
    assert (ROOT / (module[1].replace(".", "/") + ".py")).is_file()


def test_the_built_package_is_the_one_that_is_imported() -> None:
    assert Path(lisa_ros.__file__).is_relative_to(get_package_prefix("lisa_ros"))
    assert (Path(lisa_ros.__file__).parent / "py.typed").is_file()


def test_launch_and_config_are_installed() -> None:
    share = Path(get_package_share_directory("lisa_ros"))
    for folder in ("launch", "config"):
        sources = {path.name for path in (ROOT / folder).iterdir() if path.is_file()}
        assert {path.name for path in (share / folder).iterdir()} >= sources
        assert sources


def test_nothing_of_one_machine_is_in_the_files() -> None:
    # Written in pieces, so that this file does not find itself.
    folders = ["/" + "work/", "/" + "root/", "/" + r"home/\w"]
    registries = ["pypi" + r"\.org", "pythonhosted" + r"\.org", "index-" + "url", "find-" + "links"]
    faulty = re.compile("|".join([*folders, *registries]))
    found = []
    for path in tracked_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in faulty.finditer(text)]
    assert found == []


def test_sources_name_their_licence() -> None:
    sources = [path for path in tracked_files() if path.suffix in {".py", ".bash"} and path.stat().st_size > 0]
    line = "SPDX-License-Identifier: Apache-2.0"
    silent = [str(path.relative_to(ROOT)) for path in sources if line not in path.read_text()]
    assert silent == []


def environment_of_a_newcomer() -> dict[str, str]:
    """The environment without what a sourced overlay has put there."""
    ours = (str(ROOT / "install"), str(ROOT / ".venv"))
    clean = {}
    for name, value in os.environ.items():
        parts = [part for part in value.split(os.pathsep) if not part.startswith(ours)]
        if parts and name not in {"PYTHONSAFEPATH", "ROS_DOMAIN_ID", "LD_LIBRARY_PATH", "MAKEFLAGS", "MAKELEVEL"}:
            clean[name] = os.pathsep.join(parts)
    return {name: value for name, value in clean.items() if not name.startswith(("_ROS_WHEELS", "PYTEST_"))}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("target", ["demo", "test"])
def test_a_fresh_clone_needs_one_command(tmp_path_factory: pytest.TempPathFactory, target: str) -> None:
    clone = tmp_path_factory.getbasetemp() / "clone"
    if not clone.exists():
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    environment = environment_of_a_newcomer()
    environment.setdefault("LISA_ROS_GOLDEN", str(ROOT.parent / "shared" / "reference"))
    done = subprocess.run(["make", target], cwd=clone, env=environment, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("extras", "gpu", "removed"), [("sim", "1", True), ("sim", "0", False), ("sim test", "1", False)]
)
def test_what_only_a_gpu_needs_is_removed_from_a_demo_environment(
    tmp_path: Path, extras: str, gpu: str, removed: bool
) -> None:
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$@" >>asked\n')
    python.chmod(0o755)
    script = f". {ROOT}/tools/setup_python.bash; has_gpu() {{ return {gpu}; }}; remove_unused {extras}"
    subprocess.run(["bash", "-eEuo", "pipefail", "-c", script], cwd=tmp_path, check=True)
    asked = (tmp_path / "asked").read_text() if (tmp_path / "asked").exists() else ""
    assert ("uninstall" in asked and asked.split()[-1] == "triton") is removed


def test_the_commands_for_packages_that_are_not_installed_work() -> None:
    """lisa_ros itself is on no index, so that no sentence says `pip install lisa_ros[...]`."""
    sources = {file: file.read_text() for file in (ROOT / "lisa_ros").rglob("*.py")}
    assert [file for file, source in sources.items() if "lisa_ros[" in source] == []
    uses = {found for source in sources.values() for found in re.findall(r"how_to_install\(('[^)]+)\)", source)}
    assert len(uses) >= 8
    naming = [file.name for file, source in sources.items() if re.search(r"pip install\b", source)]
    assert naming == ["errors.py"], "a sentence of its own may install versions that nobody tested together"
    for use in uses:
        hint = how_to_install(*ast.literal_eval(f"({use},)"))
        command = re.search(r"\$\(python3 (.+)\)", hint)
        assert command is not None
        printed = subprocess.run(
            [sys.executable, *command[1].split()], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.splitlines()
        assert printed and all(str(Requirement(word)) for line in printed for word in line.split()), (
            "as a shell splits it"
        )
