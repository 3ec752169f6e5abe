"""Readers give the same from several threads at once, as the loader calls them."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

for needed in ("pydicom", "nibabel", "wfdb", "tifffile", "imagecodecs", "h5py", "edfio"):
    pytest.importorskip(needed, reason="needs the extra `medical`: pip install mmrep[medical]")


def test_readers_are_safe_from_threads(tmp_path):
    from tests.data.medical.corpus import corpus

    cases = [case for case in corpus(tmp_path) if not case[0].startswith(("wfdb", "slide", "store"))]  # these write their file first
    alone = [read(data)[0] for _, data, read in cases]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            for case, values, expected in zip(cases, pool.map(lambda case: case[2](case[1])[0], cases), alone):
                np.testing.assert_array_equal(values, expected, err_msg=case[0])
