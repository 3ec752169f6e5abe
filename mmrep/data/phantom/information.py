"""How many bits image and text share, hold alone, and hold only together about a label: the phantom's partial information decomposition."""

import numpy as np

from mmrep.data.phantom.latents import CLASSES, N_HISTORIES, N_TEXTURES, Latents


def mix(block: Latents) -> np.ndarray:
    """A label of four independent bits, i32[B] 0..15: class >= 5 (both know it), texture >= 5 (image alone), history >= 3 (text alone),
    synergy (both together)."""
    return ((block["class"] >= 5) + 2 * (block["texture"] >= 5) + 4 * (block["history"] >= 3) + 8 * block["synergy"]).astype(np.int32)


def information(synergy: str = "bijection", match: float = 0.5) -> dict[str, dict[str, float]]:
    """Label -> {"redundant", "unique_image", "unique_text", "synergy"} in bits, exact, of what a `whole` image and report tell.

    synergy, match: as `phantom` takes them. The factors are independent of each other and each label is a function of them, so every
    decomposition that satisfies the identities of Williams & Beer (2010) agrees: a shared factor is redundant, one that one
    modality shows is unique, and a label that neither marker tells alone is synergy. parity needs a third marker, in the table: nothing
    of it is in image and text.
    """
    entropy = sum(-p * np.log2(p) for p in (match, 1 - match) if p > 0)
    together = 0.0 if synergy == "parity" else float(entropy)

    def bits(redundant: float = 0.0, image: float = 0.0, text: float = 0.0, both: float = 0.0) -> dict[str, float]:
        return {"redundant": float(redundant), "unique_image": float(image), "unique_text": float(text), "synergy": both}

    return {"class": bits(redundant=np.log2(len(CLASSES))), "texture": bits(image=np.log2(N_TEXTURES)),
            "history": bits(text=np.log2(N_HISTORIES)), "synergy": bits(both=together), "mix": bits(1.0, 1.0, 1.0, together)}
