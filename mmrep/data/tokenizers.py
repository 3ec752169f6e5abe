"""Tokenizers: bytes (no file needed), and WordPiece or BPE trained on the spot; every one is a record of functions.

Every sequence is bos, tokens, eos, padding; a text too long loses its last tokens and keeps its eos.
"""

import functools
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmrep.core.files import write_text

PAD, BOS, EOS, UNKNOWN = 0, 1, 2, 3


class Tokenizer(NamedTuple):
    """`encode(texts, length) -> i32[n, length]`, `decode(ids) -> str`, `lengths(texts) -> i32[n]` with bos and eos.

    `lengths` is before truncation, to report what share of the texts a length cuts. `spec` rebuilds it: see `save`.
    """
    name: str
    vocab_size: int
    pad_id: int
    bos_id: int
    eos_id: int
    encode: Callable[[Sequence[str], int], np.ndarray]
    decode: Callable[[Sequence[int]], str]
    lengths: Callable[[Sequence[str]], np.ndarray]
    spec: dict


def _pack(pieces: Sequence[Sequence[int]], length: int) -> np.ndarray:
    if length < 2:
        raise ValueError(f"tokenize: length {length} leaves no room for bos and eos; use 2 or more")
    out = np.full((len(pieces), length), PAD, np.int32)
    for i, piece in enumerate(pieces):
        kept = piece[:length - 2]
        out[i, 0] = BOS
        out[i, 1:1 + len(kept)] = kept
        out[i, 1 + len(kept)] = EOS
    return out


def byte() -> Tokenizer:
    """UTF-8 bytes + 3; vocabulary 259."""
    def pieces(text: str) -> np.ndarray:
        return np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.int32) + 3

    def decode(ids: Sequence[int]) -> str:
        return bytes(int(i) - 3 for i in ids if 3 <= int(i) < 259).decode("utf-8", errors="replace")

    return Tokenizer("byte", 259, PAD, BOS, EOS, lambda texts, length: _pack([pieces(t) for t in texts], length),
                     decode, lambda texts: np.array([len(t.encode("utf-8")) + 2 for t in texts], np.int32),
                     {"name": "byte"})


def _trained(name: str, spec: dict) -> Tokenizer:
    """Tokenizer over a Hugging Face `tokenizers` model; ids 0..3 are pad, bos, eos, unknown."""
    import tokenizers as hf

    model = hf.Tokenizer.from_str(json.dumps(spec["model"]))

    def pieces(texts: Sequence[str]) -> list[list[int]]:
        # One at a time: the library's own threads would compete with the reader threads.
        return [model.encode(text, add_special_tokens=False).ids for text in texts]

    @functools.lru_cache(maxsize=2**16)  # a text comes again each epoch, and costs 30 us: a cache of pictures must not wait for it
    def kept(text: str, length: int) -> np.ndarray:
        return np.array(pieces([text])[0][:max(length - 2, 0)], np.int32)

    return Tokenizer(name, model.get_vocab_size(), PAD, BOS, EOS,
                     lambda texts, length: _pack([kept(text, length) for text in texts], length),
                     lambda ids: model.decode([int(i) for i in ids if int(i) > UNKNOWN]),
                     lambda texts: np.array([len(p) + 2 for p in pieces(texts)], np.int32), spec)


def wordpiece(texts: Iterable[str], vocab_size: int = 8192, lowercase: bool = True,
              min_frequency: int = 2) -> Tokenizer:
    """Train WordPiece (BERT's splitting) on texts; the same texts give the same file, byte for byte."""
    import tokenizers as hf
    from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

    texts = list(texts)
    normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    splitter = pre_tokenizers.BertPreTokenizer()
    letters = sorted({c for text in texts for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))
                      for c in word})
    specials = ["[PAD]", "[BOS]", "[EOS]", "[UNK]"]
    trained = hf.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    trained.normalizer, trained.pre_tokenizer = normalizer, splitter
    # The trainer numbers "##x" pieces in the order of a random hash table, and breaks ties by number: fix them.
    trained.train_from_iterator(texts, trainers.WordPieceTrainer(
        vocab_size=max(vocab_size, len(specials) + 2 * len(letters)), min_frequency=min_frequency, show_progress=False,
        special_tokens=specials + letters + ["##" + letter for letter in letters]))
    # A fresh model, because the letters must not stay "special" (those are cut out of texts before splitting).
    final = hf.Tokenizer(models.WordPiece(vocab=trained.get_vocab(), unk_token="[UNK]", max_input_chars_per_word=100))
    final.normalizer, final.pre_tokenizer = normalizer, splitter
    final.decoder = decoders.WordPiece()
    return _trained("wordpiece", {"name": "wordpiece", "model": json.loads(final.to_str())})


def bpe(texts: Iterable[str], vocab_size: int = 8192, lowercase: bool = False, min_frequency: int = 2) -> Tokenizer:
    """Train byte-level BPE (GPT-2's splitting, no unknown token) on texts; the same texts give the same file."""
    import tokenizers as hf
    from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

    trained = hf.Tokenizer(models.BPE())
    if lowercase:
        trained.normalizer = normalizers.Lowercase()
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = decoders.ByteLevel()
    trained.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=max(vocab_size, 4 + 256), min_frequency=min_frequency, show_progress=False,
        special_tokens=["[PAD]", "[BOS]", "[EOS]", "[UNK]"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    model = json.loads(trained.to_str())
    model["added_tokens"] = []  # a text that says "[EOS]" must not end the sequence
    return _trained("bpe", {"name": "bpe", "model": model})


TRAINERS: dict[str, Callable[..., Tokenizer]] = {"wordpiece": wordpiece, "bpe": bpe}


def save(tokenizer: Tokenizer, path: str | Path) -> None:
    """Write one json file, the same bytes for the same tokenizer."""
    write_text(Path(path), json.dumps(tokenizer.spec, ensure_ascii=False, sort_keys=True))


def load(name: str | Path) -> Tokenizer:
    """The tokenizer "byte", or one saved to a json file. Raises FileNotFoundError or ValueError."""
    if str(name) == "byte":
        return byte()
    path = Path(name)
    if not path.is_file():
        raise FileNotFoundError(f"tokenizer {name}: not 'byte' and no such file; train one with "
                                f"tokenizers.wordpiece or tokenizers.bpe and save it")
    try:
        spec = json.loads(path.read_text(encoding="utf-8"))
        return byte() if spec["name"] == "byte" else _trained(spec["name"], spec)
    except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"tokenizer {name}: not a file written by tokenizers.save ({error})") from None
