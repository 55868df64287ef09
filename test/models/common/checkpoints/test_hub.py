# SPDX-License-Identifier: Apache-2.0
"""Checkpoints named by folder, home folder and Hugging Face id; the cache is laid out as huggingface_hub does it."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from lisa_ros.cli.main import main
from lisa_ros.models.common.checkpoints.hub import find_folder
from lisa_ros.models.common.errors import CheckpointError
from lisa_ros.models.loading import embedded_checkpoint, load_segmenter

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of huggingface_hub's."""
    from huggingface_hub import constants

    folder = tmp_path / "hub"
    folder.mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    return folder


def lay_out(cache: Path, repository: str, source: Path) -> Path:
    """What a download of a folder's files leaves: blobs, a snapshot of links to them, and the branch's commit."""
    home = cache / f"models--{repository.replace('/', '--')}"
    snapshot = home / "snapshots" / COMMIT
    for number, file in enumerate(sorted(source.rglob("*"))):
        if file.is_file():
            link = snapshot / file.relative_to(source)
            link.parent.mkdir(parents=True, exist_ok=True)
            (home / "blobs").mkdir(exist_ok=True)
            blob = home / "blobs" / f"{number:064x}"
            blob.write_bytes(file.read_bytes())
            link.symlink_to(blob)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(COMMIT)
    return snapshot


def test_a_folder_is_itself_with_the_home_folder_spelt_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "models" / "x").mkdir(parents=True)
    assert find_folder("~/models/x") == tmp_path / "models" / "x"
    assert find_folder(tmp_path / "models" / "x") == tmp_path / "models" / "x"


def test_a_hub_id_is_found_in_the_cache_and_loaded_from_there(cache: Path) -> None:
    snapshot = lay_out(cache, "somebody/tabletop", embedded_checkpoint())
    assert find_folder("somebody/tabletop") == snapshot
    segmenter = load_segmenter("somebody/tabletop")
    assert segmenter.name == "somebody/tabletop (float32, none, cpu)"


def test_what_is_meant_by_other_ways_to_name_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, said in {
        "https://huggingface.co/xinlai/LISA-13B/tree/main": "or a Hugging Face id such as xinlai/LISA-13B$",
        "a/b@v1.0": "such as a/b; for one revision of it, run `lisa download a/b --revision v1.0` and name",
        "a/b:main": "--revision main",
        "./models/x": f"models/x is not a folder in {tmp_path}; a checkpoint is a folder",
        "/no/such": "/no/such is not a folder; a checkpoint is a folder",
    }.items():
        with pytest.raises(CheckpointError, match=said):
            find_folder(name)


def test_offline_and_not_cached_is_one_sentence(cache: Path) -> None:
    with pytest.raises(CheckpointError, match=r"'xinlai/LISA-7B-v1' is neither .* cache, and HF_HUB_OFFLINE is set"):
        find_folder("xinlai/LISA-7B-v1")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("ConnectionError", "the hub could not be reached, or the download was interrupted (ConnectionError)"),
        ("ConnectionError", "repeat this, which keeps the files that are complete, or download it elsewhere"),
        ("RepositoryNotFoundError", "the hub has no such repository"),
        ("GatedRepoError", "accepted its terms"),
        ("disk", "it could not be written: No space left on device"),
    ],
)
def test_what_the_hub_answers_is_one_sentence(
    cache: Path, monkeypatch: pytest.MonkeyPatch, error: str, said: str
) -> None:
    import huggingface_hub
    from huggingface_hub import constants, errors

    def fail(*args: object, local_files_only: bool = False, **kwargs: object) -> str:
        if error == "disk":
            raise OSError(28, "No space left on device")
        kind = getattr(errors, error, ConnectionError)
        raise kind.__new__(kind, "several\nlines of\nan address")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: SimpleNamespace(siblings=[]))
    with pytest.raises(CheckpointError) as raised:
        find_folder("xinlai/LISA-7B-v1", "vision tower")
    assert said in str(raised.value) and "\n" not in str(raised.value)
    assert "vision tower 'xinlai/LISA-7B-v1'" in str(raised.value)


def test_a_part_that_another_process_is_writing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a shared file system ignores locks, two processes download the same file, each into a part of its own."""
    import huggingface_hub
    from huggingface_hub import constants

    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "1234"
    for folder in (blobs, snapshot):
        folder.mkdir(parents=True)
    killed, others, incomplete = (blobs / f"{name}.incomplete" for name in ("whole.1a", "whole.2b", "cut.3c"))
    for part in (killed, others, incomplete):
        part.write_text("a part")
        os.utime(part, (1e9, 1e9))

    def download(*args: object, local_files_only: bool = False, **kwargs: object) -> str:
        if local_files_only:
            raise OSError("it is not in the cache")
        (blobs / "whole").write_text("all parts")
        others.write_text("a larger part")
        return str(snapshot)

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: SimpleNamespace(siblings=[]))
    assert find_folder("somebody/tabletop") == snapshot
    assert set(blobs.glob("*.incomplete")) == {others, incomplete}


@pytest.mark.parametrize("name", ["/no/such/folder", "", "x" * 5000, "x/" * 5000])
def test_what_is_neither_folder_nor_id(name: str) -> None:
    with pytest.raises(
        CheckpointError, match=r"is not a folder( in /.*)?; a checkpoint is a folder, or a Hugging Face id"
    ):
        find_folder(name)


def test_the_example_of_an_id_is_of_the_kind_that_is_missing() -> None:
    with pytest.raises(CheckpointError, match=r"a CLIP is .* such as openai/clip-vit-large-patch14$"):
        find_folder("/no/such/folder", "CLIP")


def test_the_command_line_takes_ids_and_downloads_ahead(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    snapshot = lay_out(cache, "somebody/tabletop", embedded_checkpoint())
    assert main(["download", "somebody/tabletop"]) == 0
    assert capsys.readouterr().out == f"somebody/tabletop: {snapshot}\n"  # its CLIP is a folder of its own
    assert main(["check", "--checkpoint", "somebody/tabletop"]) == 0
    assert main(["download", "somebody/else"]) == 2
    assert "HF_HUB_OFFLINE is set" in capsys.readouterr().err


def test_a_vision_tower_on_the_hub_is_downloaded_too(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lisa = tmp_path / "lisa"
    lisa.mkdir()
    (lisa / "config.json").write_text('{"vision_tower": "openai/clip"}')
    (lisa / "pytorch_model.bin").touch()
    lay_out(cache, "somebody/lisa", lisa)
    clip = lay_out(cache, "openai/clip", embedded_checkpoint() / "clip")
    assert main(["download", "somebody/lisa"]) == 0
    assert f"openai/clip: {clip}" in capsys.readouterr().out


def test_what_is_here_is_not_downloaded_and_has_no_revision(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path} is here, not downloaded\n"
    assert main(["download", str(tmp_path), "--revision", "v1"]) == 2
    assert f"--revision applies only to ids on the hub; {tmp_path} is" in capsys.readouterr().err
