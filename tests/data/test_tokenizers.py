"""Tokenizers: layout of a sequence, decoding, truncation, and training that is the same every time."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mmrep.data import tokenizers

WORDS = ("heart size is normal . no focal consolidation , effusion or pneumothorax in the left lower lobe "
         "mild cardiomegaly with edema Été µ-wave").split()
TEXTS = [" ".join(np.random.default_rng(i).choice(WORDS, 12)) for i in range(300)]


@pytest.fixture(scope="module")
def every():
    return {"byte": tokenizers.byte(), "wordpiece": tokenizers.wordpiece(TEXTS, 120),
            "bpe": tokenizers.bpe(TEXTS, 400)}


@pytest.mark.parametrize("name", ["byte", "wordpiece", "bpe"])
def test_layout_truncation_decoding_and_files(every, name, tmp_path):
    tokenizer = every[name]
    texts = ["no effusion", "", "heart size is normal with mild edema"]
    ids = tokenizer.encode(texts, 64)
    lengths = tokenizer.lengths(texts)
    assert ids.shape == (3, 64) and ids.dtype == np.int32 and ids.max() < tokenizer.vocab_size
    for row, length in zip(ids, lengths):
        assert row[0] == tokenizer.bos_id and row[length - 1] == tokenizer.eos_id
        assert (row[length:] == tokenizer.pad_id).all() and (row[1:length - 1] > 2).all()
    assert lengths[1] == 2 and [tokenizer.decode(row) for row in ids] == texts
    short = tokenizer.encode(texts, 5)
    assert np.array_equal(short[2], [*ids[2, :4], tokenizer.eos_id])
    with pytest.raises(ValueError, match="length 1 leaves no room"):
        tokenizer.encode(texts, 1)
    for path in (tmp_path / "a.json", tmp_path / "b.json"):
        tokenizers.save(tokenizer, path)
        loaded = tokenizers.load(path)
        assert loaded.vocab_size == tokenizer.vocab_size and np.array_equal(loaded.encode(TEXTS, 40),
                                                                            tokenizer.encode(TEXTS, 40))
        tokenizer = loaded
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_byte_is_any_text():
    tokenizer = tokenizers.load("byte")
    text = "Größe 5 µm, 胸部\x00"
    assert tokenizer.vocab_size == 259
    assert tokenizer.decode(tokenizer.encode([text], 99)[0]) == text
    assert tokenizer.encode(["A"], 3).tolist() == [[1, 65 + 3, 2]]


@pytest.mark.parametrize("name", ["wordpiece", "bpe"])
def test_training_twice_gives_the_same_file(name, tmp_path):
    """In separate processes, since the trainer's hash tables are seeded by process."""
    code = (f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
            "from test_tokenizers import TEXTS, tokenizers\n"
            f"tokenizers.save(tokenizers.{name}(TEXTS, 380), sys.argv[1])")
    for file in ("a", "b", "c"):
        subprocess.run([sys.executable, "-c", code, str(tmp_path / file)], check=True, timeout=60,
                       cwd=Path(__file__).resolve().parents[2])
    contents = {(tmp_path / file).read_bytes() for file in "abc"}
    assert len(contents) == 1


def test_trained_vocabularies(every):
    assert every["bpe"].vocab_size <= 400 and every["wordpiece"].vocab_size <= 120
    assert every["bpe"].lengths(TEXTS).mean() < 0.5 * every["byte"].lengths(TEXTS).mean()
    assert 3 in every["wordpiece"].encode(["漢"], 8)  # unknown
    assert 3 not in every["bpe"].encode(["漢"], 8)
    # Text that spells a special token is text.
    assert every["bpe"].encode(["[EOS] x"], 16).tolist()[0].count(2) == 1
    assert every["wordpiece"].encode(["[EOS] x"], 16).tolist()[0].count(2) == 1


def test_unknown_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="tokenizer nope.json: not 'byte' and no such file"):
        tokenizers.load("nope.json")
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(ValueError, match="not a file written by tokenizers.save"):
        tokenizers.load(tmp_path / "x.json")
