"""What a run takes over from another: its words, or nothing."""

import shutil

import pytest

from mmrep import start
from mmrep.data import tokenizers
from mmrep.run import assemble
from mmrep.train import train
from tests import runs

WORDS = {"name": "wordpiece", "vocab_size": 64, "length": 24}


def source(folder, tokenizer, text=True):
    folder.mkdir()
    if tokenizer.name != "byte":
        tokenizers.save(tokenizer, folder / "tokenizer.json")
    return start.Source({}, runs.config(tokenizer={"name": tokenizer.name, "length": 24}), folder, text)


def test_text_params_bring_their_tokenizer(tmp_path):
    other = tokenizers.wordpiece(["quite other words than the phantom has"] * 3, 64)
    theirs, mine = source(tmp_path / "other", other), tmp_path / "mine"
    config = runs.config(tokenizer=WORDS)
    mine.mkdir()
    own = assemble(config)  # trains its own: refused, with the folder in the message
    with pytest.raises(ValueError, match="^config.tokenizer: is wordpiece, but .*/other, so its numbers would mean other words"):
        start.check_tokenizer(theirs, own)
    start.inherit_tokenizer(theirs, config, mine)
    assert (mine / "tokenizer.json").read_bytes() == (tmp_path / "other" / "tokenizer.json").read_bytes()
    start.check_tokenizer(theirs, assemble(config, mine))
    start.check_tokenizer(theirs._replace(text=False), own)
    start.check_tokenizer(None, own)


def test_nothing_is_copied_where_no_text_is_taken_over_or_none_is_trained(tmp_path):
    other = tokenizers.wordpiece(["words"] * 3, 64)
    mine = tmp_path / "mine"
    mine.mkdir()
    start.inherit_tokenizer(source(tmp_path / "a", other, text=False), runs.config(tokenizer=WORDS), mine)
    start.inherit_tokenizer(source(tmp_path / "b", other), runs.config(), mine)
    start.inherit_tokenizer(source(tmp_path / "c", tokenizers.byte()), runs.config(tokenizer=WORDS), mine)
    start.inherit_tokenizer(None, runs.config(tokenizer=WORDS), mine)
    assert not list(mine.iterdir())
    with pytest.raises(ValueError, match="is byte, but the text params .* the wordpiece of"):
        start.check_tokenizer(source(tmp_path / "d", other), assemble(runs.config()))


@pytest.mark.slow
def test_stages_share_one_tokenizer(tmp_path):
    other = {"data": {"main": {"source": {"n_mentioned": 1}}}}
    config = runs.config(tokenizer=WORDS, stages=({"total": "1 steps"}, {"total": "1 steps"} | other))
    train(config, tmp_path, shared=runs.SHARED, say=lambda text: None)
    first, second = ((tmp_path / f"stage{i}" / "tokenizer.json").read_bytes() for i in (0, 1))
    assert first == second


def test_a_run_stopped_before_its_first_checkpoint_says_that_it_starts_anew(tmp_path):
    lines: list[str] = []
    train(runs.config(total="1 steps"), tmp_path, shared=runs.SHARED, say=lines.append)
    (tmp_path / "results.json").unlink()
    shutil.rmtree(tmp_path / "checkpoints")  # as after a kill: rows were written, no step was saved
    assert not any("anew" in line for line in lines)
    train(runs.config(total="1 steps"), tmp_path, shared=runs.SHARED, say=lines.append)
    assert any(line.startswith("started anew, for no step had been saved (config.save.every), in ") for line in lines)
    assert [row["step"] for row in runs.rows(tmp_path)] == [1]
