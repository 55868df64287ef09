# SPDX-License-Identifier: Apache-2.0
"""Models of other packages: found by their entry point, loaded like ours, and left out with a sentence when broken."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from paths import DOCS, ROOT

from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.registry import ENTRY_POINT_GROUP, OURS, ModelDescription, read_registry
from lisa_ros.models.table import models_table, with_table
from lisa_ros.segmentation.errors import LisaError
from lisa_ros.segmentation.files.result_files import schema

FILES = re.compile(r"^`([\w/.]+)`:\n\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example package of docs/own_models.md, as pip installs it, and one that cannot be imported."""
    base = tmp_path_factory.mktemp("packages")
    source, site = base / "bright-model", base / "site"
    for name, text in FILES.findall((DOCS / "own_models.md").read_text()):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text)
    (source / "bright_model" / "__init__.py").touch()
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(site), str(source)], check=True, capture_output=True)
    broken = site / "broken_model-1.0.dist-info"
    broken.mkdir()
    (broken / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-model\nVersion: 1.0\n")
    (broken / "entry_points.txt").write_text(f"[{ENTRY_POINT_GROUP}]\nbroken = no_such_module:MODEL\n")
    return site


IN_PYTHON = """
import pathlib, sys
import lisa_ros
from lisa_ros.models.registry import registry
from lisa_ros.segmentation.files.image_files import read_image

folder, image = sys.argv[1], read_image(pathlib.Path(sys.argv[2]))
for level in (100, 250):
    print(lisa_ros.load(folder, model_options=(f"above={level}",)).segment(image, "what is bright?").masks.sum())
try:
    lisa_ros.load(folder, model_options=("below=1",))
except ValueError as error:
    print(error)
print(*registry().broken)
"""


def test_an_installed_package_brings_its_model(installed: Path, tmp_path: Path) -> None:
    folder, image, output = tmp_path / "bright", ROOT / "examples" / "table.png", tmp_path / "out"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "bright"}')
    environment = {**os.environ, "PYTHONPATH": f"{installed}:{os.environ.get('PYTHONPATH', '')}"}
    segment = ["-m", "lisa_ros.cli", "segment", "--checkpoint", str(folder), "--image", str(image)]
    segment += ["--text", "what is bright?", "--output", str(output), "--model-option", "above=100"]
    ran = subprocess.run([sys.executable, *segment], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    result = json.loads((output / "result.json").read_text())
    Draft202012Validator(schema()).validate(result)
    (turn,) = result["turns"]
    assert turn["answer"] == "[SEG] is bright."
    python = [sys.executable, "-c", IN_PYTHON, str(folder), str(image)]
    ran = subprocess.run(python, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    some, fewer, refused, broken = ran.stdout.splitlines()
    assert int(some) == turn["masks"][0]["pixels"] > int(fewer), "the model's own option has no effect"
    assert refused == "Bright has no option 'below'; its options are above"
    assert broken.startswith("The model 'broken' of the entry point 'no_such_module:MODEL' is left out")


def test_a_package_that_cannot_be_imported_is_one_sentence() -> None:
    broken = EntryPoint("broken", "no_such_module:MODEL", ENTRY_POINT_GROUP)
    other = EntryPoint("other", "json:dumps", ENTRY_POINT_GROUP)
    twice = EntryPoint("twice", "lisa_ros.models.registry:OURS", ENTRY_POINT_GROUP)
    found = read_registry((broken, other, twice))
    assert found.models == OURS
    assert found.broken[0] == (
        "The model 'broken' of the entry point 'no_such_module:MODEL' is left out: No module named 'no_such_module'"
    )
    assert "ModelDescription is expected" in found.broken[1]
    assert len(found.broken) == 3
    assert all("\n" not in sentence for sentence in found.broken)


def importable(source: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module with a source, which can be imported during the test."""
    name = f"toy_{abs(hash(source))}"
    (folder / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(folder)
    return name


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("raise SystemExit('needs a licence')", "needs a licence"),
        ("raise RuntimeError('two\\nlines')", "two"),
        ("MODEL = 7", "it is a int"),
        ("from lisa_ros.models.registry import OURS\nMODEL = OURS[0]", "already a model of the name 'segllm'"),
        ("import no_such_module", "No module named 'no_such_module'"),
        ("MODEL = (", "'(' was never closed"),
    ],
)
def test_a_package_that_is_wrong_leaves_the_models_of_others(
    source: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = importable(source, tmp_path, monkeypatch)
    found = read_registry((EntryPoint("toy", f"{name}:MODEL", ENTRY_POINT_GROUP),))
    assert found.models == OURS
    (broken,) = found.broken
    assert sentence in broken and "\n" not in broken and broken.startswith("The model 'toy' of the entry point")


def test_a_model_that_cannot_read_a_configuration_keeps_no_other_from_loading() -> None:
    def fail(config: dict[str, object]) -> bool:
        raise KeyError("x")

    odd = ModelDescription("odd", "Odd", "odd", fail)
    found = read_registry(())
    with_odd = type(found)((odd, *found.models))
    assert with_odd.model_of({"model_type": "lira"}).name == "lira"
    assert with_odd.model_of({}).name == "lisa"


WHOLE = """
from lisa_ros.segmentation.interface import Capabilities, DeviceMemory
class Segmenter:
    name, capabilities = "toy", Capabilities()
    def encode(self, image): ...
    def session(self, encoded, turns=(), *, max_history_tokens=0): ...
    def memory(self): return DeviceMemory()
    def release(self): ...
def load(folder, options): return Segmenter()
"""


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("raise ImportError('libtoy.so is missing')", "cannot load .*: ImportError: libtoy.so is missing"),
        ("def load(folder, options): raise SystemExit('no licence')", "cannot load .*: SystemExit: no licence"),
        ("def load(folder, options): raise RuntimeError('a\\nb' * 1000)", "cannot load .*: RuntimeError: a ba b"),
        ("load = None", "cannot load .*: TypeError: 'NoneType' object is not callable"),
        ("", "cannot load .*: AttributeError: .* has no attribute 'load'"),
        (
            "def load(folder, options): pass",
            "loads a value of type NoneType, which has no encode, session, memory, rel",
        ),
        (WHOLE.replace('"toy"', "7"), "loads a value of type Segmenter, whose name is of type int instead of str"),
        (WHOLE.replace("Capabilities()", "None"), "whose capabilities is of type NoneType instead of Capabilities"),
        (WHOLE.replace("def release", "def other"), "loads a value of type Segmenter, which has no release; see docs"),
    ],
)
def test_a_model_of_a_package_that_cannot_be_loaded_is_one_sentence(
    source: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = importable(source, tmp_path, monkeypatch)
    model = ModelDescription("toy", "Toy", name, lambda config: True)
    with pytest.raises(LisaError, match=sentence) as refused:
        model.load(tmp_path, None)
    assert str(refused.value).startswith("The model 'toy' (toy_") and "\n" not in str(refused.value)
    (tmp_path / f"{name}_whole.py").write_text(WHOLE)
    assert ModelDescription("toy", "Toy", f"{name}_whole", lambda config: True).load(tmp_path, None).name == "toy"


def test_names_are_unique_and_unknown_ones_are_refused_with_the_known() -> None:
    names = [model.name for model in OURS]
    assert len(set(names)) == len(names)
    with pytest.raises(LisaError, match=r"there is no model 'lisaa'; there are .*lisa"):
        read_registry(()).named("lisaa")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [(("above",), "is not NAME=VALUE"), (("a=1", "a=2"), "given twice"), (("=1",), "is not NAME=VALUE")],
)
def test_options_of_a_model_are_name_and_value(given: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(LisaError, match=sentence):
        LoadOptions(model_options=given).own_options()


def test_the_readme_has_the_current_table_of_models() -> None:
    readme = (ROOT / "README.md").read_text()
    assert with_table(readme) == readme, "run: tools/run python -m lisa_ros.models.table README.md"
    assert models_table().count("\n") == len(OURS) + 1
