# SPDX-License-Identifier: Apache-2.0
"""The documentation: the site builds without a broken link, and the README's commands are what they say."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml
from paths import DOCS, ROOT

from lisa_ros.cli.finetune import add_arguments, finetune_options
from lisa_ros.cli.main import _parser, main
from lisa_ros.cli.parsing import CommandParser
from lisa_ros.nodes.console.parameters import ConsoleParameters
from lisa_ros.nodes.lisa.parameters import NodeParameters
from lisa_ros.segmentation.files.result_files import schema


def test_the_site_builds_and_no_link_is_broken(tmp_path: Path) -> None:
    built = subprocess.run(
        [Path(sys.executable).with_name("mkdocs"), "build", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "site" / "index.html").is_file()


def test_every_page_is_in_the_navigation() -> None:
    class Loader(yaml.SafeLoader):
        """Reads mkdocs.yml without importing what its tags name."""

    Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)
    config = yaml.load((ROOT / "mkdocs.yml").read_text(), Loader)
    listed = {page for section in config["nav"] for pages in section.values() for page in pages}
    assert listed == {file.name for file in DOCS.glob("*.md")}


def test_links_of_the_readme_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / "README.md").read_text())
    missing = [target for target in targets if not target.startswith("http") and not (ROOT / target).exists()]
    assert missing == []


def code_blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def test_every_make_target_and_launch_argument_of_the_readme_exists() -> None:
    shell = "\n".join(code_blocks("bash"))
    targets = set(re.findall(r"^make ([a-z-]+)", shell, re.MULTILINE))
    declared = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert targets and targets <= declared


def shell_commands() -> list[list[str]]:
    """The words of each line in the bash blocks of the README and of all pages, without `tools/run`."""
    found = []
    for page in (ROOT / "README.md", *sorted(DOCS.glob("*.md"))):
        for block in re.findall(r"^```bash\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                while words[:1] in (["tools/run"], ["--private"]):
                    del words[0]
                found.append(words)
    return found


def test_every_lisa_command_and_python_program_of_the_pages_exists(capsys: pytest.CaptureFixture[str]) -> None:
    """`lisa` gets the arguments as they are written; nothing is run."""
    wrong = []
    checked = 0
    for words in shell_commands():
        if words[:1] == ["lisa"]:
            checked += 1
            try:
                _parser().parse_args(words[1:])
            except SystemExit:
                wrong.append(f"{' '.join(words)}: {capsys.readouterr().err}")
        elif words[:1] in (["python"], ["python3"]) and len(words) > 1 and words[1] != "draw.py":
            checked += 1
            is_module = words[1] == "-m"
            file = ROOT / words[1].removeprefix("src/lisa_ros/")
            if not (importlib.util.find_spec(words[2]) if is_module else file.is_file()):
                wrong.append(" ".join(words))
    assert wrong == [] and checked > 50


def test_every_launch_argument_and_parameter_of_the_pages_exists() -> None:
    shared = (ROOT / "lisa_ros" / "nodes" / "common" / "launch_arguments.py").read_text()
    parameters = {"lisa_node": NodeParameters, "console": ConsoleParameters}
    wrong = []
    for words in shell_commands():
        given = [word.split(":=")[0] for word in words if ":=" in word]
        if words[:3] == ["ros2", "launch", "lisa_ros"]:
            declared = shared + (ROOT / "launch" / words[3]).read_text()
            wrong += [f"{words[3]} {name}" for name in given if f'"{name}"' not in declared]
        elif words[:3] == ["ros2", "run", "lisa_ros"]:
            names = {field.name for field in dataclasses.fields(parameters[words[3]])} | {"image"}
            wrong += [f"{words[3]} {name}" for name in given if name not in names]
    assert wrong == []


def test_the_command_without_ros_runs_as_written(tmp_path: Path) -> None:
    (block,) = [block for block in code_blocks("bash") if "lisa segment" in block]
    command = block.strip().replace("tools/run lisa", f"{sys.executable} -m lisa_ros.cli")
    command = command.replace("output/found", str(tmp_path / "found"))
    subprocess.run(["bash", "-c", command], cwd=ROOT, check=True, capture_output=True)
    assert (tmp_path / "found" / "result.json").is_file()


def test_the_planners_snippet_compiles_and_its_names_exist() -> None:
    (block,) = [block for block in code_blocks("python") if "LisaClient" in block]
    compile(block, "README.md", "exec")
    from lisa_ros.client import FoundObject, LisaClient, Result

    for owner, names in ((LisaClient, ("segment", "is_complete", "feedback", "result")), (Result, ("message",))):
        for name in names:
            assert hasattr(owner, name) or name in owner.__dataclass_fields__
    assert {"centroid_pixel", "pose"} <= set(FoundObject.__dataclass_fields__)


def test_the_first_fine_tuning_of_the_training_page_runs_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The images are drawn and checked; of `lisa finetune`, which takes a minute, the arguments are read."""
    section = (DOCS / "training.md").read_text().partition("### A first small run")[2].partition("### LISA-7B")[0]
    (drawing,) = re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    (commands,) = re.findall(r"^```bash\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    lines = [shlex.split(line)[2:] for line in commands.replace("\\\n", "").splitlines() if "tools/run lisa" in line]
    assert [arguments[0] for arguments in lines] == ["data", "finetune", "segment"]
    monkeypatch.chdir(tmp_path)
    exec(compile(drawing, "training.md", "exec"), {})
    assert main(lines[0]) == 0
    said = capsys.readouterr().out
    assert "images: 8" in said and "problems: 0" in said
    parser = CommandParser()
    add_arguments(parser)
    options = finetune_options(parser.parse_args(lines[1][1:]))
    assert (options.steps, options.batch, options.replay) == (40, 4, "none")
    assert all(folder.is_dir() for folder in (*options.data, options.validation or Path()))


def test_the_page_of_result_json_describes_every_field_and_its_example_fits() -> None:
    page = (DOCS / "result_json.md").read_text()
    (example,) = re.findall(r"^```json\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    jsonschema.validate(json.loads(example), schema())
    definitions = schema()["$defs"]
    fields = {*schema()["properties"], *definitions["turn"]["properties"], *definitions["object"]["properties"]}
    table = page.partition("| field |")[2]
    missing = {name for name in fields if not re.search(rf"[`.]{name}[`.\[]", table)}
    assert missing == set()


def test_the_architecture_page_has_every_package_in_its_layer_and_a_paragraph_for_each() -> None:
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    layers = [set(layer.split(" : ")) for layer in contract["layers"]]
    page = (DOCS / "architecture.md").read_text()
    drawn = [
        set(names.split()) for names in re.findall(r"subgraph L\d\[.*\]\n(?: {4}direction TB\n)?((?: {4}\w+\n)+)", page)
    ]
    assert drawn == layers
    described = {
        name for names in re.findall(r"^- \*\*([\w, ]+)\*\*:", page, re.MULTILINE) for name in names.split(", ")
    }
    assert described == set.union(*layers)
    files = re.findall(r"^\d\. \[`([\w/]+\.py)`\]", page, re.MULTILINE)
    assert len(files) == 3 and all((ROOT / "lisa_ros" / file).is_file() for file in files)


def test_every_test_that_the_pages_about_faults_name_exists() -> None:
    """Paths below test/, with a function after `::` where one is named."""
    page = "".join((ROOT / name).read_text() for name in ("docs/reliability.md", "docs/findings.md", "SECURITY.md"))
    named = re.findall(r"`((?:test/)?[\w/]+\.py)(?:::(\w+))?`", page)
    assert len(named) > 120
    for path, function in named:
        file = ROOT / "test" / path.removeprefix("test/")
        assert file.is_file(), path
        assert f"def {function}(" in file.read_text() if function else True, f"{path}::{function}"


def test_messages_on_the_troubleshooting_page_are_those_of_the_nodes() -> None:
    page = (DOCS / "troubleshooting.md").read_text()
    sources = "\n".join(file.read_text() for file in (ROOT / "lisa_ros").rglob("*.py"))
    for part in (
        "answers will be worse; set template to",
        "The model's answer names no object in the image.",
        "does not acknowledge its messages; it may miss some.",
        "answers wait for slow subscribers of ~/segmentation.",
        "dropped messages",
        "The publisher there sends",
        "Fast DDS loses images over 512 kB unless",
        "There is no parameter",
        "ROS could not start; check the arguments after --ros-args",
    ):
        assert part in page and part in sources, part


def test_the_table_of_memory_is_what_its_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(ROOT / "tools" / "model_memory.py"), run_name="__main__")
    rows = [line.lower() for line in capsys.readouterr().out.splitlines()[2:]]
    assert len(rows) == 6
    assert [row for row in rows if row not in (DOCS / "models.md").read_text().lower()] == []
