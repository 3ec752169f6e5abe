"""Whole runs for tests: tiny ones in this process or as `python -m mmrep.cli`, one compilation cache for all of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np

from mmrep.core import checkpoint, tree
from tests import tiny
from tests.conftest import FAST_COMPILE

ROOT = tiny.ROOT
CACHE = os.environ["MMREP_TEST_CACHE"]
jax.config.update("jax_compilation_cache_dir", CACHE)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
CLIP = {"clip": {"name": "contrastive"}}
TOWERS = tiny.TOWERS
SHARED: dict = {}  # compiled steps and opened data, shared by the runs of this process

# The config of the subprocess runs. MMREP_TEST_SIGNAL = "NUMBER STEP" sends the process a signal right after it has
# read that step's metrics: the same point on any machine, however busy.
CONFIG = '''
import os
from tests import runs

def get_config(arg=""):
    if os.environ.get("MMREP_TEST_SIGNAL"):
        import mmrep.train as t
        number, at = map(int, os.environ["MMREP_TEST_SIGNAL"].split())
        real = t._read
        def read(step, *rest):
            out = real(step, *rest)
            if step == at:
                os.kill(os.getpid(), number)
            return out
        t._read = read
    return runs.resumable()
'''


def config(**changes):
    """A one-layer CLIP on 64 subjects, without evaluators; changes as in `tiny.config`."""
    c = tiny.config(changes.pop("objectives", CLIP), **{
        "total": "4 steps", "log.every": "1 steps", "save.every": "2 steps", "eval.controls": (),
        "optim.warmup": "2 steps", "mesh.min_shard": 1} | changes)
    return c.lock()


def resumable(**changes):
    """Checkpoints and evaluations each 4 steps, the best kept by a metric: what a resume has to get right."""
    return config(**{"total": "8 steps", "save.every": "4 steps", "eval.every": "4 steps", "save.keep": 1,
                     "save.metric": "val/retrieval/image_to_text/MRR/instance",
                     "evals": {"retrieval": {"name": "retrieval"}}} | changes)


def environment(devices: int = 1, **more: str) -> dict[str, str]:
    """A clean environment for a subprocess."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("XLA_", "JAX_", "MMREP_"))}
    return env | {"JAX_PLATFORMS": "cpu", "JAX_COMPILATION_CACHE_DIR": CACHE, "MMREP_TEST_CACHE": CACHE,
                  "PYTHONPATH": str(ROOT), "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices} {FAST_COMPILE}"} | more


def start(*args: object, devices: int = 1, **env: str) -> subprocess.Popen:
    """`python -m mmrep.cli ARGS` in the background."""
    return subprocess.Popen([sys.executable, "-m", "mmrep.cli", *map(str, args)], cwd=ROOT, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(devices, **env))


def finish(process: subprocess.Popen, code: int = 0, timeout: float = 400) -> tuple[str, str]:
    """(stdout, stderr) of a process that must end with `code`."""
    try:
        out, err = process.communicate(timeout=timeout)
    finally:
        process.kill()
    assert process.returncode == code, f"exit {process.returncode}, wanted {code}:\n{out[-2000:]}\n{err[-4000:]}"
    return out, err


def rows(workdir: Path) -> list[dict]:
    """metrics.jsonl without the clock."""
    return [{k: v for k, v in json.loads(line).items() if k != "time"}
            for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def params(workdir: Path, step: int | None = None) -> dict[str, np.ndarray]:
    """{path: array} of a checkpoint's params."""
    found = checkpoint.read_params(workdir, step)["params"]
    return dict(zip(tree.paths(found), map(np.asarray, jax.tree.leaves(found))))


def assert_equal(a: dict[str, np.ndarray], b: dict[str, np.ndarray]):
    """Bitwise."""
    assert a.keys() == b.keys()
    for path in a:
        np.testing.assert_array_equal(a[path], b[path], err_msg=path)
