"""Shared set-up: a compilation cache for the session, and which slow tests run.

`pytest` runs the fast tests and a rotating eighth of the slow ones (another one each day), `--rest` what that left out and the tests of
extras, whose packages may have been missing before,
`--all-slow` the slow ones only, all of them.
"""

import atexit
import os
import shutil
import tempfile
import time
import zlib
from pathlib import Path

import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# 8 devices: meshes in one process. The rest: a step compiles in a quarter of the time, and tests compile more than they run.
# (level 0 would be faster still, but there log1p loses 5 % of small values)
FAST_COMPILE = "--xla_backend_optimization_level=1 --xla_cpu_use_fusion_emitters=false"
os.environ.setdefault("XLA_FLAGS", f"--xla_force_host_platform_device_count=8 {FAST_COMPILE}")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # see mmrep/cli.py
# one day for the session and its workers, and for `make test` and `make check` of one .ci/run, midnight or not
os.environ.setdefault("MMREP_TEST_DAY", str(int(time.time() // 86400)))
ROOT = Path(__file__).resolve().parent.parent
if not os.environ.get("MMREP_TEST_CACHE"):  # one compilation cache for the session, its worker processes and their runs
    os.environ["MMREP_TEST_CACHE"] = tempfile.mkdtemp(prefix="mmrep-tests-")
    atexit.register(shutil.rmtree, os.environ["MMREP_TEST_CACHE"], ignore_errors=True)


def pytest_addoption(parser):
    parser.addoption("--rest", action="store_true", help="run the slow tests that a plain run leaves out today")
    parser.addoption("--all-slow", action="store_true", help="run all the slow tests, and only them")


def pytest_collection_modifyitems(config, items):
    today = int(os.environ["MMREP_TEST_DAY"]) % 8
    kept, left = [], []
    for item in items:
        slow, extra = (item.get_closest_marker(name) is not None for name in ("slow", "extra"))
        turn = zlib.crc32(item.nodeid.encode()) % 8 == today
        if config.getoption("--all-slow"):
            wanted = slow
        else:
            wanted = (slow and not turn or extra) if config.getoption("--rest") else (not slow or turn)
        named = any("::" in arg for arg in config.args)  # a test asked for by name always runs
        (kept if wanted or named else left).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=left)


@pytest.fixture(scope="session")
def shared():
    """The folder of real data sets, beside the project; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("MMREP_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"real data sets are not at {folder}; set MMREP_SHARED")
    return folder
