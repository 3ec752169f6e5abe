"""The phantom's table row: demographics, laboratory values of the findings and the severity, and codes.

Which side of its reference a laboratory value lies on tells its finding only together with the assay batch and the sex, and the
class is coded by a key that differs from row to row: so a linear reading of the columns finds little, as of raw pixels.
"""

import numpy as np

from mmrep.data.phantom.image import noise_of
from mmrep.data.phantom.latents import Latents

COLUMNS = ("age", "bmi", "crp", "cea", "albumin", "bnp", "saturation", "inr", "lactate", "creatinine")
CATEGORIES = ("sex", "smoking", "genotype", "marker", "code", "key")
CARDINALITIES = (2, 3, 3, 2, 10, 20)

# laboratory values, one a finding: reference, standard deviation; narrow enough that hardly any would fall below a tenth of the reference
LABS = ((20.0, 3.5), (3.0, 0.5), (42.0, 4.0), (150.0, 25.0), (97.0, 1.2), (1.1, 0.1))
SHIFT = 1.25            # standard deviations from the reference, to the side that tells whether the finding is there
CODE_ERROR = 0.03
ORGAN = (80.0, 110.0, 140.0)  # creatinine by organ site


def sides(category: np.ndarray) -> np.ndarray:
    """Which side of the reference means that a finding is there: +1 or -1, f32[B], of category i32[B,6]."""
    return np.where((category[:, 5] % 2) ^ category[:, 0], np.float32(1), np.float32(-1))


def tabular(block: Latents, columns: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Latents of B subjects -> (f32[B,columns-6] in COLUMNS' order and usual units, i32[B,6] in CATEGORIES' order, 0-based).

    columns: 16..512; those beyond 16 are further laboratory values, every other one a noisy copy of an earlier one, the rest noise.
    key = 2 x what is added to the class to give code (mod 10; wrong in 3 %) + the assay batch's parity; marker is marker_c;
    creatinine tells the organ, lactate rises with severity. Laterality and zone are not in it. Missing values are the source's
    business (`missing`), not this function's.
    """
    if not 16 <= columns <= 512:
        raise ValueError(f"phantom table: columns must be 16..512, got {columns}")
    noise, raw = block["tabular/noise"], block["tabular/flip"]
    low = np.uint64(0xFFFF)
    secret = ((raw[:, 0] & low) % np.uint64(10)).astype(np.int32)
    wrong = (raw[:, 0] >> np.uint64(32)) < np.uint64(CODE_ERROR * 2**32)
    other = 1 + ((raw[:, 1] & low) % np.uint64(9)).astype(np.int32)
    code = (block["class"] + secret + wrong * other) % 10
    keys = np.stack([block["sex"], block["smoking"], block["genotype"], block["marker_c"], code,
                     2 * secret + block["tabular/batch"] % 2], -1).astype(np.int32)
    side, labs = sides(keys), []
    for k, (mean, deviation) in enumerate(LABS):
        z = noise[:, k] + (2 * block["findings"][:, k].astype(np.float32) - 1) * np.float32(SHIFT) * side
        labs.append(np.maximum(np.float32(mean) + np.float32(deviation) * z, np.float32(0.1 * mean)))
    lactate = np.float32(1) + np.float32(2) * block["severity"] + np.float32(0.25) * noise[:, 6]
    creatinine = np.array(ORGAN, np.float32)[block["organ"]] + np.float32(8) * noise[:, 7]
    values = [block["age"], block["bmi"], *labs, lactate, creatinine]
    extra = noise_of(block, "tabular/extra", columns - 16) if columns > 16 else None
    for k in range(columns - 16):
        copied = (values[2 + k // 2 % 6] - np.float32(LABS[k // 2 % 6][0])) / np.float32(LABS[k // 2 % 6][1])
        values.append(np.float32(0.5) * copied + extra[:, k] if k % 2 else extra[:, k])
    return np.round(np.stack(values, -1).astype(np.float32), 3), keys
