# SPDX-License-Identifier: Apache-2.0
"""Recognisers: the one of moonshine-voice's wheel, and toy checkpoints of transformers."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from spoken import said

from lisa_ros.speech.extra import SpeechError
from lisa_ros.speech.recognition.loading import load_recognizer


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads of so small a network mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def write_tokenizer(folder: Path, special: dict[str, str], added: list[str], last: tuple[str, ...] = ()) -> int:
    """A tokenizer of letters, with added tokens before and behind them; returns its size."""
    letters = [*added, *"abcdefghijklmnopqrstuvwxyz ", *last]
    vocabulary = {letter: number for number, letter in enumerate(letters)}
    backend = {
        "version": "1.0",
        "added_tokens": [
            {
                "id": vocabulary[text],
                "content": text,
                "special": True,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
            }
            for text in (*added, *last)
        ],
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": added[0]},
        "decoder": {"type": "Fuse"},
    }
    (folder / "tokenizer.json").write_text(json.dumps(backend))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), **special)
    tokenizer.save_pretrained(folder)
    return len(vocabulary)


def moonshine_toy(folder: Path) -> None:
    """Moonshine's architecture with random weights."""
    special = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    size = write_tokenizer(folder, special, ["<unk>", "<s>", "</s>"])
    torch.manual_seed(0)
    configuration = transformers.MoonshineConfig(
        vocab_size=size,
        hidden_size=32,
        intermediate_size=64,
        encoder_num_hidden_layers=2,
        decoder_num_hidden_layers=2,
        encoder_num_attention_heads=2,
        decoder_num_attention_heads=2,
    )
    transformers.MoonshineForConditionalGeneration(configuration).save_pretrained(folder)
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True)
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    transformers.Wav2Vec2Processor(extractor, tokenizer).save_pretrained(folder)


def whisper_toy(folder: Path) -> None:
    """Whisper's architecture with random weights, which knows English and German."""
    added = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|transcribe|>", "<|translate|>"]
    special = {"unk_token": added[0], "bos_token": added[0], "eos_token": added[0], "pad_token": added[0]}
    # Whisper takes all tokens behind this one for timestamps, and would begin again at each.
    size = write_tokenizer(folder, special, added, ("<|notimestamps|>",))
    torch.manual_seed(0)
    configuration = transformers.WhisperConfig(
        vocab_size=size,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        num_mel_bins=80,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
        decoder_start_token_id=1,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    model = transformers.WhisperForConditionalGeneration(configuration)
    model.generation_config._from_model_config = False  # else its further entries are not read
    model.generation_config.is_multilingual = True
    model.generation_config.lang_to_id = {"<|en|>": 2, "<|de|>": 3}
    model.generation_config.task_to_id = {"transcribe": 4, "translate": 5}
    model.generation_config.no_timestamps_token_id = size - 1
    model.generation_config.decoder_start_token_id = 1
    model.save_pretrained(folder)
    transformers.WhisperFeatureExtractor().save_pretrained(folder)
    configuration_of_tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    configuration_of_tokenizer["processor_class"] = "WhisperProcessor"
    (folder / "tokenizer_config.json").write_text(json.dumps(configuration_of_tokenizer))


def test_the_recogniser_of_the_wheel_understands_a_synthetic_voice() -> None:
    recognizer = load_recognizer()
    assert recognizer.recognize(said("Where is the yellow ring?", "slt")).text == "Where is the yellow ring?"
    assert recognizer.recognize(np.zeros(100, np.float32)).text == ""
    assert recognizer.recognize(np.zeros(0, np.float32)).text == ""
    recognizer.close()


@pytest.mark.parametrize("make", [moonshine_toy, whisper_toy])
def test_a_folder_of_transformers_is_a_recogniser(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path)
    sound = (0.1 * np.random.default_rng(0).standard_normal(16000)).astype(np.float32)
    recognizer = load_recognizer(str(tmp_path), "", "cpu")
    first, second = recognizer.recognize(sound), recognizer.recognize(sound)
    assert first == second
    assert len(first.text) <= 16 + 8
    assert first.confidence is not None
    # Random weights choose among about thirty tokens.
    assert 0.02 < first.confidence < 0.5
    assert str(tmp_path) in recognizer.name
    assert recognizer.recognize(np.zeros(0, np.float32)).text == ""
    recognizer.close()


def test_languages(tmp_path: Path) -> None:
    whisper_toy(tmp_path)
    recognizer = load_recognizer(str(tmp_path), "German", "cpu")
    assert recognizer.recognize(np.zeros(16000, np.float32)) == recognizer.recognize(np.zeros(16000, np.float32))
    with pytest.raises(SpeechError, match="does not know the language 'fr'"):
        load_recognizer(str(tmp_path), "fr", "cpu")
    with pytest.raises(SpeechError, match="knows English, not 'de'"):
        load_recognizer("", "de")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda tensors, name: tensors.pop(name), r"lacks 1 of the \d+ weights of Moonshine\w+, such as \S+"),
        (lambda tensors, name: tensors[name].fill_(torch.nan), r"model\.safetensors: \S+ has numbers that are NaN"),
    ],
    ids=["missing", "NaN"],
)
def test_a_folder_with_damaged_weights_is_refused(
    tmp_path: Path, spoil: Callable[[dict[str, torch.Tensor], str], object], sentence: str
) -> None:
    moonshine_toy(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    spoil(tensors, sorted(name for name in tensors if name.endswith("fc1.weight"))[0])
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(SpeechError, match=sentence):
        load_recognizer(str(tmp_path), "", "cpu")


@pytest.mark.parametrize("name", ["nope", "./nope", "~nobody_at_all/x", __file__])
def test_a_name_that_is_neither_folder_nor_hub_id_is_refused_without_the_network(name: str) -> None:
    with pytest.raises(SpeechError, match="neither a folder nor a Hugging Face id such as openai/whisper-tiny"):
        load_recognizer(name, "", "cpu")


def test_a_folder_that_is_no_speech_model_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SpeechError, match="cannot be loaded") as refused:
        load_recognizer(str(tmp_path), "", "cpu")
    assert "\n" not in str(refused.value)
    if not torch.cuda.is_available():
        moonshine_toy(tmp_path)
        with pytest.raises(SpeechError, match="torch sees no CUDA device"):
            load_recognizer(str(tmp_path), "", "cuda")
