"""The phantom's table row: demographics, noisy laboratory values of the findings and the severity, and codes."""

import numpy as np

from mmrep.data.phantom.latents import Latents

COLUMNS = ("age", "bmi", "crp", "cea", "albumin", "bnp", "saturation", "inr", "lactate", "creatinine")
CATEGORIES = ("sex", "smoking", "genotype", "batch", "code", "ward")
CARDINALITIES = (2, 3, 3, 4, 10, 3)

# laboratory values, one a finding: mean, standard deviation, and the finding's shift in standard deviations.
# A shift of 2.5 gives each an AUROC of 0.96: a noisy view of what image and report show.
LABS = ((20.0, 8.0, 2.5), (3.0, 1.0, 2.5), (42.0, 4.0, -2.5), (150.0, 60.0, 2.5), (97.0, 1.2, -2.5), (1.1, 0.1, 2.5))
BATCH = np.array([[0.0, 0.3, -0.2, 0.1], [0.1, -0.3, 0.2, 0.0]], np.float32)  # assay batches, in standard deviations
CODE_ERROR = 0.05


def tabular(block: Latents) -> tuple[np.ndarray, np.ndarray]:
    """Latents of B subjects -> (f32[B,10] in COLUMNS' order and usual units, i32[B,6] in CATEGORIES' order, 0-based).

    code is the class, wrong in 5 %; ward is the severity bin, wrong in 5 %; lactate rises with severity; creatinine is noise.
    Laterality and zone are not in it. Missing values are the source's business (`missing`), not this function's.
    """
    noise, batch = block["tabular/noise"], block["tabular/batch"]
    labs = []
    for k, (mean, deviation, shift) in enumerate(LABS):
        z = noise[:, k] + block["findings"][:, k] * np.float32(shift) + BATCH[k % 2, batch]
        labs.append(np.float32(mean) + np.float32(deviation) * z)
    lactate = np.float32(1) + np.float32(2) * block["severity"] + np.float32(0.25) * noise[:, 6]
    creatinine = np.float32(80) + np.float32(15) * noise[:, 7]
    values = np.stack([block["age"], block["bmi"], *labs, lactate, creatinine], -1).astype(np.float32)

    codes = []
    for k, (name, count) in enumerate((("class", 10), ("severity_bin", 3))):
        raw = block["tabular/flip"][:, k]
        other = ((raw & np.uint64(0xFFFF)) % np.uint64(count - 1)).astype(np.int32) + 1
        wrong = (raw >> np.uint64(32)) < np.uint64(CODE_ERROR * 2**32)
        codes.append(np.where(wrong, (block[name] + other) % count, block[name]))
    keys = [block["sex"], block["smoking"], block["genotype"], batch, *codes]
    return np.round(values, 3), np.stack(keys, -1).astype(np.int32)
