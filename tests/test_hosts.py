"""Several hosts: when they are detected, and how an error of one ends all."""

import jax
import pytest

from mmrep import hosts

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
