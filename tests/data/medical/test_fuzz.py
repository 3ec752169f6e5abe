"""Every reader on damaged copies of files of every format, in a process of its own: a crash, a hang and too much memory are failures."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

for needed in ("pydicom", "nibabel", "wfdb", "tifffile", "imagecodecs", "h5py", "edfio"):
    pytest.importorskip(needed, reason="needs the extra `medical`: pip install mmrep[medical]")
ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is bounded on Linux only")
@pytest.mark.parametrize("n, seed, seconds", [(45, 0, 120), pytest.param(300, 1, 900, marks=pytest.mark.slow)])
def test_damaged_files_raise_only_documented_errors_in_bounded_memory(n, seed, seconds):
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.data.medical.fuzz", str(n), str(seed)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds)
    assert run.returncode == 0, run.stderr[-3000:]
    told = json.loads(run.stdout)
    counts = told["counts"]
    assert sum(read + refused for read, refused, _ in counts.values()) >= 2000 and len(counts) >= 45
    assert all(refused for _, refused, _ in counts.values()) and sum(read for read, *_ in counts.values()) > 500
    assert told["peak_mb"] < 1000
