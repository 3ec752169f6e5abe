"""Several hosts: when they are detected, how an error of one ends all, and two real processes."""

import json
import socket

import jax
import numpy as np
import pytest

from mmrep import hosts
from mmrep.core import checkpoint
from mmrep.data.phantom.export import write_table
from tests import runs, tiny

STEP = {"SLURM_PROCID": "1", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2"}


@pytest.mark.parametrize("env, several", [
    ({}, False), (STEP, True), ({"SLURM_NTASKS": "2"}, False),  # the shell of an sbatch or salloc: nobody else is here
    ({"SLURM_NTASKS": "2", "SLURM_PROCID": "0"}, False), (STEP | {"SLURM_STEP_NUM_TASKS": "1"}, False),
    ({"TPU_WORKER_HOSTNAMES": "a,b"}, True), ({"TPU_WORKER_HOSTNAMES": "a"}, False)])
def test_only_a_step_of_several_tasks_is_several_hosts(env, several):
    assert hosts.detected(env) is several


@pytest.mark.parametrize("flags", [("", 2, 0), ("h:1", 0, 0), ("h:1", 2, 2), ("h:1", 2, -1)])
def test_flags_must_fit(flags):
    with pytest.raises(ValueError, match="give all three"):
        hosts.start(*flags)


def on_two(monkeypatch, host, failed, fn):
    """first_then_others as host `host` of two, where each turn ends with these hosts failed."""
    answers, told = iter(failed), []
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(jax, "process_index", lambda: host)
    monkeypatch.setattr(hosts, "_failed", lambda here: told.append(here) or next(answers))
    try:
        return hosts.first_then_others(fn), told
    except Exception as error:
        return error, told


def test_host_0_goes_first_and_an_error_reaches_all(monkeypatch):
    def fails():
        raise ValueError("bad config")

    assert hosts.first_then_others(lambda: 3) == 3
    assert on_two(monkeypatch, 0, [[], []], lambda: 3) == (3, [False, False])
    assert on_two(monkeypatch, 1, [[], []], lambda: 4) == (4, [False, False])
    error, told = on_two(monkeypatch, 0, [[0]], fails)
    assert str(error) == "bad config" and told == [True]
    error, told = on_two(monkeypatch, 1, [[0]], lambda: pytest.fail("host 1 must not go on"))
    assert "host 0 could not start" in str(error) and told == [False]
    error, told = on_two(monkeypatch, 0, [[], [1]], lambda: 3)
    assert "host 1 could not start" in str(error) and told == [False, False]


def two_hosts(file, workdir, *overrides):
    """The two processes of one run."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    return [runs.start("train", file, "--workdir", workdir, "--coordinator", f"127.0.0.1:{port}", "--hosts", 2, "--host", i,
                       *overrides) for i in range(2)]


@pytest.mark.slow
def test_an_error_of_one_host_ends_both(tmp_path):
    file = tmp_path / "config.py"
    # only host 1 lacks its data, as where a disk is not mounted
    file.write_text("import sys\nfrom tests import runs\ndef get_config():\n    c = runs.config()\n    with c.unlocked():\n"
                    "        c.data.main.source.n = 64 if sys.argv[sys.argv.index('--host') + 1] == '0' else 8\n    return c\n")
    said = [runs.finish(p, 2, 90)[1] for p in two_hosts(file, tmp_path / "w")]
    assert "host 1 could not start; its own output says why" in said[0] and "batch of 16 from 8 rows" in said[1]
    assert not any("Traceback" in text for text in said)


@pytest.mark.slow
def test_two_processes_give_what_one_gives(tmp_path):
    file = tmp_path / "config.py"
    file.write_text("""
from tests import runs
def get_config():
    evals = {"retrieval": {"name": "retrieval"}, "zeroshot": {"name": "zeroshot", "label": "class", "prompts": "phantom"}}
    # params split over the hosts, which prompts must not stumble over
    return runs.resumable(**{"optim.name": "sgd", "optim.lr": 0.1, "mesh.data": 1, "mesh.fsdp": 2, "evals": evals})
"""[1:])
    said = [runs.finish(p)[1] for p in two_hosts(file, tmp_path / "two")]
    runs.finish(runs.start("train", file, "--workdir", tmp_path / "one", devices=2))
    assert "wrote" in said[0] and "step" not in said[1]
    one, two = runs.rows(tmp_path / "one"), runs.rows(tmp_path / "two")
    assert [r.keys() for r in one] == [r.keys() for r in two]
    for a, b in zip(one, two):
        if "loss" in a:  # with the gradients' norms
            np.testing.assert_allclose([a[k] for k in a], [b[k] for k in a], rtol=1e-5, atol=1e-6)
    results = [json.loads((tmp_path / n / "results.json").read_text()) for n in ("one", "two")]
    assert "zeroshot/class/top1" in results[0]["metrics"] and results[0]["metrics"].keys() == results[1]["metrics"].keys()
    for name, value in results[0]["metrics"].items():
        np.testing.assert_allclose(list(value.values()), list(results[1]["metrics"][name].values()), atol=1e-3)
    assert results[1]["test_reads"] == 1
    assert checkpoint.steps_of(tmp_path / "one") == checkpoint.steps_of(tmp_path / "two")
    tiny.assert_close(runs.params(tmp_path / "one"), runs.params(tmp_path / "two"))


@pytest.mark.slow
@pytest.mark.parametrize("split, saved", [("train", 0), ("dev", 1), ("test", 2)])
def test_a_row_that_one_host_cannot_read_ends_both_after_saving(tmp_path, split, saved):
    table = write_table(tmp_path / "t")
    broken = table.parent / "images" / f"{split}0005.png"  # in one host's part of a batch
    whole = broken.read_bytes()
    broken.write_bytes(whole[:len(whole) // 2])
    config = f"{runs.ROOT / 'configs' / 'clip_table.py'}:path={table},smoke"
    flags = ("--config.data.main.source.splits={'val': 'dev'}", "--config.eval.controls=()", "--config.eval.every=1 steps")
    ended = [(p, *p.communicate(timeout=300)) for p in two_hosts(config, tmp_path / "w", *flags)]
    said = [err for _, _, err in ended]
    assert [p.returncode for p, _, _ in ended] == [2, 2], said
    assert sum(broken.name in err for err in said) == 1 and sum("another host could not read a row" in err for err in said) == 1
    assert checkpoint.steps_of(tmp_path / "w")[-1] == saved and not (tmp_path / "w" / "results.json").exists()
    broken.write_bytes(whole)
    for process in two_hosts(config, tmp_path / "w", *flags):
        runs.finish(process)
    assert (tmp_path / "w" / "results.json").exists()
