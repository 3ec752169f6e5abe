"""The command: bad input is one line and exit 2 before anything compiles; what evaluate, embed and load give."""

import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

import mmrep
from mmrep import cli
from mmrep import train as loop
from mmrep.core import checkpoint
from mmrep.core.types import TrainState
from mmrep.run import assemble
from mmrep.stop import Stopped
from tests import runs

QUICK = "configs/quickstart.py:smoke"


@pytest.fixture
def command(monkeypatch, capsys):
    """command(*args) -> (exit code, lines on standard error), in this process, with its environment left alone."""
    monkeypatch.chdir(runs.ROOT)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    real = loop.train
    monkeypatch.setattr(loop, "train", lambda c, w, **k: real(c, w, shared=runs.SHARED, **k))

    def run(*args):
        code = cli.main([str(a) for a in args])
        captured = capsys.readouterr()
        run.out = captured.out
        return code, captured.err.splitlines()

    return run


@pytest.fixture
def nothing_compiles(monkeypatch):
    monkeypatch.setattr(loop, "init_program", lambda run: lambda *_: pytest.fail("compiled before the error"))


def refused(result, message):
    code, lines = result
    assert code == 2 and len(lines) == 1 and lines[0].startswith("mmrep: error: "), lines
    assert message in lines[0], lines[0]


def table(folder, **changes):
    """A CSV of 16 training subjects with pictures, and a config file that reads it; changes: cells {"row:column": value}."""
    from PIL import Image

    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = [{"file": f"{i}.png", "report": f"report {i % 3}", "age": str(40 + i), "part": "val" if i == 16 else "train"}
            for i in range(17)]
    for row in rows:
        Image.fromarray(rng.integers(0, 255, (32, 32), np.uint8)).save(folder / row["file"])
    for where, value in changes.items():
        i, column = where.split(":")
        rows[int(i)][column] = value
    columns = list(rows[0])
    (folder / "t.csv").write_text("\n".join([",".join(columns)] + [",".join(r[c] for c in columns) for r in rows]) + "\n")
    (folder / "c.py").write_text(f"""
from tests import runs
def get_config():
    c = runs.config(total="2 steps").copy_and_resolve_references()
    with c.unlocked():
        c.data = {{"main": {{"batch": 8, "source": {{
            "name": "manifest", "path": {str(folder / 't.csv')!r}, "on_error": "raise",
            "columns": {{"image": "file", "text": "report", "tabular": ("age",), "split": "part"}}}}}}}}
    return c
""")
    return folder / "c.py"


def test_bad_configs_are_one_line(command, nothing_compiles, tmp_path):
    for overrides, message in (
            (["optim.lrr=1"], "config.optim.lrr: unknown key; did you mean 'lr'?"),
            (["optim.lr=x"], "config.optim.lr: 'x' is no float"),
            (["encoders.image.name=vitt"], "config.encoders.image.name: unknown 'vitt'; did you mean 'vit'?"),
            (["encoders.image.widht=3"], "config.encoders.image.widht: vit takes no 'widht'; did you mean 'width'?"),
            (["objectives.clip.name=contrasive"], "did you mean 'contrastive'?"),
            (["evals.zeroshot.label=clas"], "config.evals.zeroshot.label: the data has no label 'clas'; did you mean 'class'"),
            (["evals.zeroshot.nme=1"], "config.evals.zeroshot.nme: zeroshot takes no 'nme'"),
            (["eval.controls=('untrain',)"], "config.eval.controls: unknown 'untrain'; did you mean 'untrained'?"),
            (["rules=({'match': 'encoder/.*', 'freeze': True},)"], "matches no leaf"),
            (["data.main.batch=33"], "config.data.main.batch: 33 does not divide over 8 row shards"),
            (["micro=3"], "x 3 micro-batches (config.micro); use a multiple of 24"),
            (["mesh.fsdp=3"], "config.mesh: fsdp 3 x tensor 1 does not divide 8 devices"),
            (["data.main.source.sizee=3"], "config.data.main.source.sizee: phantom"),
            (["total=5 stepps"], "config.total: '5 stepps' is no duration"),
            (["optim.name=adamww"], "config.optim.name: optax has no 'adamww'"),
            (["save.mode=best"], "config.save.mode: 'best'"),
            (["encoders.image.heads=5"], "config.encoders.image: "),
            (["seed=2147483648"], "config.seed: 2147483648 is not in 0 .. 2**31 - 1"),
            (["data.main.source.n=16"], "config.data.main.batch: batch of 32 from 16 rows"),
            (["data.main.source.modalities=('image',)"], "config.objectives.clip: reads 'text', which config.data.main does not"),
            (["init.path=no/where"], "config.init.path: ")):
        refused(command("train", QUICK, "--workdir", tmp_path / "w", *(f"--config.{o}" for o in overrides)), message)
    refused(command("train", "configs/quickstat.py", "--workdir", tmp_path / "w"), "did you mean 'configs/quickstart.py'?")
    refused(command("train", QUICK, "--workdir", "/dev/null/w"), "--workdir /dev/null/w: cannot be written (Not a directory)")
    refused(command("evaluate", tmp_path / "none"), "is it a run's workdir?")
    refused(command("embed", tmp_path / "none", "--out", "x.csv"), "write to a .npz or a .parquet file")
    refused(command("train", QUICK, "--workdir", tmp_path / "w", "--hosts", "2"), "give all three")
    for line in (("evaluate", tmp_path / "w"), ("embed", tmp_path / "w", "--out", "x.npz")):
        refused(command(*line, "--config.eval.limit=3"), f"--config.eval.limit: {line[0]} takes the config of the run")
    bare = tmp_path / "bare.py"
    bare.write_text("import ml_collections\ndef get_config():\n    return ml_collections.ConfigDict({'seed': 1})\n")
    refused(command("train", bare, "--workdir", tmp_path / "w"), "config.total: is missing; start the config from base")


def test_bad_data_is_one_line_naming_file_and_row(command, monkeypatch, tmp_path):
    with monkeypatch.context() as m:
        m.setattr(loop, "init_program", lambda run: pytest.fail("compiled before the error"))
        for i, (cells, overrides, message) in enumerate((
                ({}, ["columns.text=repport"], "t.csv: no column 'repport'; did you mean 'report'?"),
                ({"3:file": "x.png"}, [], "t.csv row 3 (line 5): image 'x.png' is not in"),
                ({}, ["split=training"], "'training'"),
                ({"2:report": '" "'}, [], "t.csv row 2 (line 4): text column 'report' is empty"),
                ({"5:age": "nan"}, [], "t.csv row 5 (line 7): tabular column 'age' is null, NaN or infinite"))):
            file = table(tmp_path / str(i), **cells)
            refused(command("train", file, "--workdir", tmp_path / "w",
                            *(f"--config.data.main.source.{o}" for o in overrides)), message)
    file = table(tmp_path / "corrupt")
    picture = tmp_path / "corrupt" / "6.png"
    picture.write_bytes(picture.read_bytes()[:60])
    code, lines = command("train", file, "--workdir", tmp_path / "w")
    assert code == 2 and "t.csv row 6 (line 8): image '6.png'" in lines[-1] and "Traceback" not in "".join(lines)
    skip = "--config.data.main.source.on_error=skip"
    code, lines = command("train", file, "--workdir", tmp_path / "w", skip)
    text = "\n".join(lines)
    assert code == 0 and "1 times a row could not be read and was masked (1 rows)" in text and "6.png" in text, text
    lost = table(tmp_path / "lost", **{"3:file": "lost.png"})
    code, lines = command("train", lost, "--workdir", tmp_path / "lost" / "w", skip)
    text = "\n".join(lines)
    assert code == 0 and "left out 1 bad rows, e.g." in text and "lost.png" in text, text


def test_full_disk_is_one_line_and_the_run_goes_on(command, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", small]).returncode:
        pytest.skip("needs the right to mount a tmpfs; test_checkpoint has the same with a refused write")
    try:
        file = tmp_path / "c.py"
        file.write_text("from tests import runs\ndef get_config():\n    return runs.config(total='8 steps', "
                        "**{'save.every': '1 steps', 'save.keep': 99})\n")
        code, lines = command("train", file, "--workdir", small / "w")
        assert code == 2 and "the disk is full" in lines[-1] and "Traceback" not in "".join(lines), lines
        saved = checkpoint.steps_of(small / "w")
        assert 0 < saved[-1] < 8
        subprocess.run(["mount", "-o", "remount,size=64m", small], check=True)
        code, lines = command("train", file, "--workdir", small / "w")
        assert code == 0 and any(f"resumed at step {saved[-1]}" in line for line in lines), lines
        assert command("train", file, "--workdir", tmp_path / "whole")[0] == 0
        runs.assert_equal(runs.params(small / "w"), runs.params(tmp_path / "whole"))
        assert runs.rows(small / "w") == runs.rows(tmp_path / "whole")
    finally:
        subprocess.run(["umount", "-l", small])


def test_another_models_checkpoint_is_refused(command, nothing_compiles, tmp_path):
    manager = checkpoint.open_folder(tmp_path / "w" / "checkpoints")
    run = assemble(runs.config())
    params = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), run.shapes.params)
    checkpoint.save(manager, TrainState(np.int32(0), params, {}, {}, {}, jax.random.key(0)))
    checkpoint.close(manager)
    code, lines = command("train", QUICK, "--workdir", tmp_path / "w")
    assert code == 2 and "checkpoints/0: of another model: leaf opt/" in lines[-1] and "use the config" in lines[-1]


def test_evaluate_embed_and_load(command, tmp_path):
    import pyarrow.parquet

    c = runs.config(total="2 steps", evals={"retrieval": {"name": "retrieval"}})
    first = loop.train(c, tmp_path / "w", say=lambda text: None)
    assert first["test_reads"] == 1
    code, _ = command("evaluate", tmp_path / "w", "--json", tmp_path / "again.json")
    again = json.loads((tmp_path / "again.json").read_text())
    assert code == 0 and again["metrics"] == first["metrics"] and again["test_reads"] == 2
    command("evaluate", "--data", "n=24", tmp_path / "w", "--json", tmp_path / "n.json")
    refused(command("evaluate", tmp_path / "w", "--split", "validaton"), "phantom split must be one of")
    assert all(m["n"] <= 24 for m in json.loads((tmp_path / "n.json").read_text())["metrics"].values())
    refused(command("evaluate", tmp_path / "w", "--data", "m=24"), "config.data.main.source.m: phantom takes no 'm'")
    refused(command("train", QUICK, "--workdir", tmp_path / "w"), "holds a run of another config: config.")
    for name in ("x.npz", "x.parquet"):
        assert command("embed", tmp_path / "w", "--data", "n=24", "--out", tmp_path / name)[0] == 0
    rows = np.load(tmp_path / "x.npz")
    assert rows["index"].tolist() == list(range(24)) and rows["image/embedding"].shape == (24, 16)
    columns = pyarrow.parquet.read_table(tmp_path / "x.parquet").to_pydict()
    np.testing.assert_array_equal(columns["image/embedding"], rows["image/embedding"])
    assert columns["index"] == list(range(24))
    model, params, config = mmrep.load(tmp_path / "w")
    text = model["texts"](params, ["clear", "a large mass"])
    assert text.shape == (2, 16) and np.allclose(np.linalg.norm(text, axis=1), 1, atol=1e-5)
    image = np.zeros((2, 32, 32, 1), np.uint8)
    assert model["encode"](params, "image", image).tokens.shape[:2] == (2, 16)
    assert config.head.dim == 16 and model["tokenize"](["a"]).shape == (1, 24)


def test_the_exit_code_tells_a_stop_by_hand_from_one_by_the_scheduler(command, tmp_path, monkeypatch):
    for name, want in (("SIGTERM", 0), ("SIGINT", 130)):
        def stopped(*_, name=name, **__):
            raise Stopped("stopped", name)

        monkeypatch.setattr(loop, "train", stopped)
        code, lines = command("train", QUICK, "--workdir", tmp_path / "w")
        assert code == want and lines[-1] == "mmrep: stopped"


def test_a_table_of_ones_own_by_the_argument_of_a_config(command, tmp_path):
    from mmrep.data.phantom.export import write_table

    table, workdir = write_table(tmp_path / "t"), tmp_path / "w"
    argument = f"configs/clip_table.py:path={table},label=type,case=case_id,smoke"
    small = ("--config.data.main.source.splits={'val': 'dev'}", "--config.eval.controls=()", "--config.evals.alignment.limit=0")
    code, lines = command("train", argument, "--workdir", workdir, *small)
    assert code == 0 and json.loads((workdir / "results.json").read_text())["metrics"]["probe/type/accuracy"]["n"] == 16, lines
    assert [line for line in lines if "config.inputs.image" in line] == []
    refused(command("train", "configs/clip_table.py", "--workdir", tmp_path / "x"), "manifest: no table is named; set path=")
    refused(command("train", argument.replace("label", "lable"), "--workdir", tmp_path / "x"),
            "argument 'lable' is unknown; did you mean 'label'?")


def test_writers_of_a_failed_checkpoint_say_nothing_of_their_own():
    code = ("import asyncio\nfrom mmrep.cli import quiet_writers\nquiet_writers()\nasync def fails(): raise ValueError('no space')\n"
            "async def main():\n    asyncio.ensure_future(fails())\n    await asyncio.sleep(0.01)\nasyncio.run(main())\n"
            "import logging\nlogging.getLogger('asyncio').error('another')\n")
    loud = subprocess.run([sys.executable, "-c", code.replace("quiet_writers()", "", 1)], cwd=runs.ROOT, capture_output=True, text=True)
    assert "never retrieved" in loud.stderr
    quiet = subprocess.run([sys.executable, "-c", code], cwd=runs.ROOT, capture_output=True, text=True)
    assert quiet.returncode == 0 and quiet.stderr.strip() == "another"


def test_not_finite_exits_with_one(command, tmp_path):
    file = tmp_path / "c.py"
    file.write_text("from tests import runs\ndef get_config():\n    return runs.config(**{'optim.lr': 1e36})\n")
    code, lines = command("train", file, "--workdir", tmp_path / "w")
    assert code == 1 and "mmrep: error: step" in lines[-1] and "is not finite; the state after step" in lines[-1]
    assert "encoders/" in lines[-1] or "the loss" in lines[-1]


def test_what_is_imported(tmp_path):
    """One process each: --help without jax; a whole run without tensorflow or torch."""
    # processor time: the bound must not depend on what else the machine does
    help_ = ("import sys, time; t = time.process_time()\nfrom mmrep import cli\n"
             "try: cli.main(['train', '--help'])\nexcept SystemExit as e: assert not e.code\n"
             "print(time.process_time() - t, [m for m in ('jax', 'numpy', 'ml_collections') if m in sys.modules])")
    out = subprocess.run([sys.executable, "-c", help_], cwd=runs.ROOT, capture_output=True, text=True, check=True).stdout
    seconds, modules = out.splitlines()[-1].split(" ", 1)
    assert modules == "[]" and "--workdir" in out and float(seconds) < 0.5
    file = tmp_path / "c.py"
    file.write_text("import sys\nfrom mmrep import train\nfrom tests import runs\n"
                    f"train.train(runs.config(total='1 steps'), {str(tmp_path / 'w')!r})\n"
                    "print([m for m in ('tensorflow', 'torch') if m in sys.modules])")
    out = subprocess.run([sys.executable, file], cwd=runs.ROOT, env=runs.environment(), capture_output=True, text=True)
    assert out.stdout.splitlines()[-1] == "[]", out.stderr[-2000:]


def test_data_commands(command, tmp_path):
    from tests.data.audit.tables import spec, write

    path, columns = write(tmp_path / "a"), ("--columns", "image=file,text=report,label.dx=dx,case=patient")
    code, lines = command("data", "describe", path)
    assert code == 0 and "train 24 rows" in command.out
    assert "guessed image=file, text=report, case=patient, split=split, label=dx" in lines[-1]
    code, _ = command("data", "validate", path, *columns, "--json", "--html", tmp_path / "page.html")
    found = json.loads(command.out)
    assert code == 0 and {"rows", "skipped", "splits", "duplicates", "leakage", "missing", "labels"} <= set(found) and found["rows"] == 40
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>") and not command("data", "validate", path, "--strict")[0]
    (tmp_path / "a" / "0003.jpg").write_bytes(b"")
    assert command("data", "validate", path, "--strict")[0] == 1 and "0003.jpg" in command.out
    split = ("data", "split", path, *columns, "--out", tmp_path / "new.jsonl", "--column", "fold")
    code, lines = command(*split, "--fractions", 0.5, 0.25, 0.25)
    assert code == 0 and any(line.startswith("train: 20 rows, dx 10 / 10") for line in lines), lines
    refused(command(*split), "is there already, and is not written over")
    source = json.dumps(spec(path)["source"])
    code, lines = command("data", "prepare", source, "--data", "on_error=skip", "--out", tmp_path / "p", "--processes", 1)
    assert code == 0 and "wrote 39 rows" in lines[-1]
    assert command("data", "show", tmp_path / "p", "--out", tmp_path / "p.png")[0] == 0 and (tmp_path / "p.png").stat().st_size > 10_000
    assert command("data", "overlap", path, tmp_path / "p", *columns, "--json")[0] == 0
    assert json.loads(command.out)["same"]["rows"] == [39, 39]
    for line, message in (
            (("validate", tmp_path / "none.csv"), "none.csv: no such file"), (("validate", "tfds:nonesuch"), "no such dataset"),
            (("validate", path, "--columns", "image"), "'image' is no KEY=COLUMN"),
            (("validate", path, "--columns", "image=fil"), "no column 'fil'; did you mean 'file'?"),
            (("validate", path, *columns, "--data", "chanels=3"), "manifest takes no 'chanels'; did you mean 'channels'?"),
            (("validate", path, *columns, "--near", "9"), "9 bits is not in 0..7"),
            (("validate", path, *columns, "--html", "x.txt"), "write to a .html file"),
            (("validate", QUICK, "--columns", "image=a"), "of a config, override keys by --config.data.main.source"),
            (("validate", path, "--config.seed=3"), "is no config; give KEY=VALUE pairs by --data"),
            (("overlap", path, "{'a': 1}"), "no dict {'name': ..., ...}"),
            (("describe", "{'name': 'manifst'}"), "did you mean 'manifest'?")):
        code, lines = command("data", *line)
        assert code == 2 and lines[-1].startswith("mmrep: error: ") and message in lines[-1], (line, lines)
