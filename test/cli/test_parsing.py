# SPDX-License-Identifier: Apache-2.0
"""Every option of `lisa` has an effect, or is refused by name; misspelt ones are named with the nearest right one."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_datasets import reason, write_reason_seg

from lisa_ros.cli.data_options import data_arguments
from lisa_ros.cli.main import _parser, main
from lisa_ros.models.common.options import LoadOptions
from lisa_ros.models.loading import embedded_checkpoint, load_segmenter

SEGMENT = ["segment", "--image", "a.png", "--text", "x", "--output", "o"]
EVALUATE = ["evaluate", "--output", "o", "--data", "d"]
FINETUNE = ["finetune", "--checkpoint", "{lisa}", "--data", "d", "--output", "o"]


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, str]:
    """Folders with just a config.json that names their model."""
    configs = {"lisa": {}, "segllm": {"segmentator": "hipie"}, "lira": {"model_type": "lira"}}
    for name, config in configs.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config))
    return {name: str(tmp_path / name) for name in configs}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([*SEGMENT, "--refined"], "--refined applies only to LIRA; "),
        ([*SEGMENT, "--refine-checkpoint", "r"], "--refine-checkpoint applies only with --refine sam2"),
        ([*SEGMENT, "--names-checkpoint", "n"], "--names-checkpoint applies only with --segmenter auto; "),
        (["listen", "--wav", "a.wav", "--device", "1"], "--device applies only without --wav"),
        (
            ["listen", "--asr-device", "cuda"],
            "--asr-device applies only with --asr-model: the built-in",
        ),
        (
            [*SEGMENT, "--attributes", "--checkpoint", "{segllm}"],
            "to LIRA; {segllm} holds SegLLM",
        ),
        ([*SEGMENT, "--fusion-scales", "f"], "--fusion-scales applies only to SegLLM; "),
        ([*SEGMENT, "--fusion-scales=f", "--checkpoint", "{lira}"], "--fusion-scales applies only to SegLLM"),
        (
            [*SEGMENT, "--reference", "1", "--checkpoint", "{lisa}"],
            "to SegLLM; {lisa} holds LISA",
        ),
        ([*SEGMENT, "--explicit-references"], "--explicit-references applies only to SegLLM"),
        ([*SEGMENT, "--template", "llava_v1", "--checkpoint", "{segllm}"], "--template applies only to LISA"),
        ([*SEGMENT, "--vision-tower", "v", "--checkpoint", "{lira}"], "--vision-tower applies only to LISA and SegLLM"),
        (
            [*SEGMENT, "--answer", "mask_only", "--max-new-tokens", "9"],
            "--max-new-tokens applies only with --answer full; --answer is mask_only",
        ),
        (
            [*EVALUATE, "--dataset", "reason_seg", "--protocol", "teacher_forced", "--union"],
            "--union applies only with --protocol generate or quantization; --protocol is teacher_forced",
        ),
        (
            [*EVALUATE, "--dataset", "tabletop", "--protocol", "generate", "--all-texts", "--partition", "unc"],
            "--all-texts applies only with --dataset reason_seg or folder; --dataset is tabletop",
        ),
        (
            [*EVALUATE, "--dataset", "tabletop", "--protocol", "generate", "--partition", "unc"],
            "--partition applies only to RefCOCO's family; --dataset is tabletop",
        ),
        ([*EVALUATE, "--dataset", "reason_seg", "--protocol", "generate", "--images", "i"], "--images applies only to"),
        (
            [*EVALUATE, "--dataset", "folder", "--protocol", "generate", "--split", "val"],
            "--split applies only to",
        ),
        (
            [*EVALUATE, "--dataset", "reason_seg", "--protocol", "quantization", "--answer", "full"],
            "--answer applies only with --protocol generate",
        ),
        (
            [*EVALUATE, "--dataset", "reason_seg", "--protocol", "referring", "--phrasing", "plain"],
            "--phrasing applies only with --protocol generate or quantization",
        ),
        (
            [*EVALUATE, "--dataset", "mr_refcoco", "--protocol", "generate", "--references", "own"],
            "--references applies only to SegLLM",
        ),
        (
            ["evaluate", "--compare", "a", "b", "--output", "o", "--limit", "3"],
            "--limit applies only without",
        ),
        (["benchmark", "--shape", "mini", "--checkpoint", "{lisa}"], "--shape applies only without --checkpoint"),
        (["benchmark", "--parts", "flood"], "--parts applies only to `lisa benchmark node`\n"),
        (["benchmark", "node", "--tokens", "8"], "--tokens applies only to `lisa benchmark model`"),
        (["benchmark", "console", "--checkpoint", "{lisa}"], "to `lisa benchmark model`, `node` and `fleet`\n"),
        (["benchmark", "console", "--device", "cpu"], "--device applies only to `lisa benchmark model` and `node`\n"),
        (["benchmark", "fleet", "--quantization", "4bit"], "--quantization applies only to `lisa benchmark model` and"),
        (["chat", "--camera", "0", "--node", "front/lisa"], "--node applies only with --ros\n"),
        (["chat", "--image", "a.png", "--operator", "ann"], "--operator applies only with --ros\n"),
        (["chat", "--ros", "--quantization", "4bit"], "--quantization applies only without --ros\n"),
        (["chat", "--ros", "--max-new-tokens", "9"], "--max-new-tokens applies only without --ros\n"),
        (["console", "--seed", "3"], "--seed applies only with --simulated\n"),
        (["console", "--output", "o"], "--output applies only with --simulated\n"),
        (["data", "check", "d", "--show", "3"], "--show applies only with --output\n"),
        ([*FINETUNE, "--rank", "0", "--alpha", "3"], "--alpha applies only with LoRA; --rank is 0"),
        (
            ["convert", "{lisa}", "o", "--quantization", "none", "--device", "cpu"],
            "--device applies only with --quantization 8bit or 4bit; --quantization is none",
        ),
        (["check", "--checkpoint", "{lira}", "--vision-tower", "v"], "--vision-tower applies only to LISA and SegLLM"),
    ],
)
def test_an_option_without_effect_is_refused_by_name(
    folders: dict[str, str], capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert main([one.format(**folders) for one in arguments]) == 2
    said = capsys.readouterr().err
    assert sentence.format(**folders) in said and said.startswith(f"lisa {arguments[0]}: ")
    assert said.count("\n") == 1, "one sentence"


def test_no_checkpoint_is_looked_for_that_has_no_effect(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of the hub would be downloaded."""
    monkeypatch.setattr("lisa_ros.cli.main.find_folder", lambda checkpoint: pytest.fail(f"{checkpoint} is looked for"))
    assert main(["chat", "--ros", "--checkpoint", "somebody/lisa"]) == 2
    assert capsys.readouterr().err == "lisa chat: --checkpoint applies only without --ros\n"


@pytest.mark.parametrize("command", [["chat", "--ros"], ["policy"], ["doctor"]], ids=lambda command: command[0])
def test_a_node_s_name_is_taken_with_and_without_its_first_slash(command: list[str]) -> None:
    names = [_parser().parse_args([*command, "--node", name]).node for name in ("lisa", "/lisa", "front/lisa")]
    assert names == ["/lisa", "/lisa", "/front/lisa"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["chat", "--ros", "--node", "my lisa"],
        ["policy", "--console", "front-console"],
        ["doctor", "--image", "/camera/1"],
        ["bag", "b", "o", "--image", "/i", "--prefix", "my robot"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_what_is_no_name_in_ros_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert f"argument {arguments[-2]}: {arguments[-1]!r} is not a ROS name" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["segment", "--imgae", "a.png", "--text", "x", "--output", "o"], "no option --imgae; is --image meant?"),
        ([*SEGMENT, "--quant", "4bit"], "no option --quant; is --quantization meant?"),
        ([*SEGMENT, "--xyzzy"], "there is no option --xyzzy."),
        ([*SEGMENT, "-q"], "there is no option -q."),
        ([*SEGMENT, "more"], "unexpected argument 'more'"),
        (["segment", "--image", "a.png", "--text", " ", "--output", "o"], "--text: the text is empty; say what to"),
        (["data", "check", "d", "--shwo", "3"], "no option --shwo; is --show meant?"),
        (["evaluate", "--output", "o"], "the following arguments are required: --dataset, --protocol"),
        (["calibrate", "--dataset", "tabletop", "--output", "o"], "required: --checkpoint"),
        (["check", "folder"], "required: --checkpoint"),
        (["doctor", "--seconds", "0"], "argument --seconds: '0' is not a number of seconds above 0"),
        (["serve", "--port", "99999"], "argument --port: '99999' is not a port from 1 to 65535"),
        (["serve", "--port", "0"], "argument --port: '0' is not a port from 1 to 65535"),
        (["console", "--port", "-1"], "argument --port: '-1' is not a port from 0 to 65535"),
        (["policy", "--seconds", "inf"], "argument --seconds: 'inf' is not a number of seconds above 0"),
        ([*SEGMENT, "--threads", "1025"], "'1025' is not a whole number of 1 or more, and at most 1024"),
        ([*SEGMENT, "--max-new-tokens", "9" * 400], " is not a whole number of 1 or more, and at most 2147483647"),
        ([*SEGMENT, "--cache-mib", "9" * 5000], " is not a whole number of 0 or more, and at most 2147483647"),
        ([*SEGMENT, "--vision-tower", ""], "--vision-tower: the text is empty; leave the option out for its default"),
        (["benchmark", "--tokens", "3"], "'3' is not a whole number of 4 or more"),
        (["benchmark", "--memory-cap-gib", "nan"], "'nan' is not a number of GiB above 0"),
        (["serve", "--gpus", "-1"], "argument --gpus: '-1' is not a number of 0 or more"),
        (["serve", "--requests-per-minute", "1e400"], "'1e400' is not a number of 0 or more"),
        (["serve", "--traces", "2"], "argument --traces: '2' is not a share, 0 to 1"),
        (["serve", "--metrics-port", "70000"], "'70000' is not a port from 0 to 65535"),
    ],
)
def test_a_misspelt_option_is_named_with_the_nearest(
    capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    said = capsys.readouterr().err
    assert ended.value.code == 2 and sentence in said
    assert said.count("\n") == 1 and "--help" in said, "one sentence, and where to read more"


def test_texts_and_numbers_that_look_like_options(capsys: pytest.CaptureFixture[str]) -> None:
    """A text with a space, and a negative number, are values."""
    assert main(["segment", "--image", "/nowhere.png", "--text", "-- the mug", "--output", "o"]) == 2
    assert "there is no image file /nowhere.png" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*EVALUATE, "--dataset", "tabletop", "--protocol", "generate", "--limit", "-3"])
    assert "'-3' is not a whole number of 1 or more" in capsys.readouterr().err


def test_the_same_holds_in_python() -> None:
    for options, sentence in (
        (LoadOptions(refine=True), "refine is True, but only LIRA has this option; the checkpoint is LISA's"),
        (LoadOptions(fusion_scales="f"), "only SegLLM has this option"),
    ):
        with pytest.raises(ValueError, match=sentence):
            load_segmenter(embedded_checkpoint(), options)


def test_an_interrupted_command_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lisa_ros.cli.main.find_folder", interrupted)
    assert main(["check", "--checkpoint", "x"]) == 130
    assert capsys.readouterr().err == "lisa check: interrupted\n"
    assert main(["finetune", "--checkpoint", "x", "--data", "d", "--output", "o"]) == 130
    assert capsys.readouterr().err == "lisa finetune: interrupted; the same command resumes\n"


def test_a_reader_that_ends_early_is_no_error(tmp_path: Path) -> None:
    write_reason_seg(tmp_path, {f"{i}": reason("x", is_sentence=False) for i in range(2)})
    command = [sys.executable, "-m", "lisa_ros.cli", "data", "check", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stderr is not None
        child.stdout.close()
        assert child.wait(200) == 141
        said = child.stderr.read()
        assert b"rror" not in said and b"lisa data" not in said


@pytest.mark.parametrize(
    ("given", "split"),
    [
        (["--dataset", "tabletop"], "validation"),
        (["--dataset", "refcoco"], "val"),
        (["--dataset", "tabletop", "--split", "far"], "far"),
    ],
)
def test_each_data_set_has_its_own_usual_split(given: list[str], split: str, folders: dict[str, str]) -> None:
    options = _parser().parse_args([*EVALUATE, *given, "--protocol", "generate", "--checkpoint", folders["lisa"]])
    assert data_arguments(options)["source"].split == split


def test_a_bag_is_never_taken_for_a_checkpoint_of_the_hub(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["bag", "recordings/talk", str(tmp_path / "out"), "--image", "/image", "--command", "1s ann: the mug"]
    assert main(command) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "lisa bag: there is no bag recordings/talk"


@pytest.mark.parametrize(
    "arguments",
    [
        ["segment", "--image", "a.png", "--text", "x", "--output", ""],
        ["segment", "--image", "", "--text", "x", "--output", "o"],
        ["finetune", "--checkpoint", "c", "--data", "d", "--output", " "],
        ["evaluate", "--output", "", "--data", "d"],
        ["bag", "b", "", "--image", "/i"],
        ["bag", "b", "o", "--image", "/i", "--report", ""],
        ["chat", "--output", ""],
        ["convert", "c", ""],
        ["train", "--output", ""],
        ["benchmark", "--output", ""],
        ["console", "--output", ""],
        ["policy", "--output", ""],
        ["data", "check", "d", "--output", ""],
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_an_empty_path_is_not_the_current_folder(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2 and "the path is empty; the current folder is '.'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_loop_of_symbolic_links_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(SystemExit) as ended:
        main(["bag", "in", str(loop), "--image", "/image", "--command", "1 a: b"])
    assert ended.value.code == 2
    assert f"argument OUT: {loop} is a symbolic link that leads back to itself" in capsys.readouterr().err


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers of all subcommands, and of theirs."""
    for action in parser._subparsers._group_actions if parser._subparsers else ():
        for one in (action.choices or {}).values():
            yield one
            yield from parsers(one)


def test_the_help_of_each_subcommand_states_its_purpose_and_each_option_says_what_it_takes() -> None:
    found = list(parsers(_parser()))
    assert len(found) >= 21
    assert [one.prog for one in found if not re.fullmatch(r"[A-Z].*\.", one.description or "", re.DOTALL)] == []
    helps = {
        f"{one.prog} {action.option_strings}": action.help or ""
        for one in found
        for action in one._actions
        if action.dest not in ("help", "action")
    }
    unclear = [name for name, text in helps.items() if not text or text.startswith(("(", "of ", "for ", "which"))]
    assert unclear == []


def test_a_wrong_image_is_refused_before_torch_is_imported() -> None:
    """That takes seconds, on a busy computer a minute."""
    program = (
        "import sys; from lisa_ros.cli.main import main; "
        "status = main(['segment', '--image', '/nowhere.png', '--text', 'x', '--output', '/nowhere']); "
        "print(status, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "2 False\n", done.stderr
