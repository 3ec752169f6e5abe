"""What near-identical means, measured: `python -m experiments.real_sets.near --data ../shared/data`.

600 pictures a set are stored anew (shrunk to a share of their size, compressed); told is how many are not found as near-duplicates of
their originals, and how many pairs of unequal pictures of the whole training split are.
"""

import argparse
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from experiments.real_sets.real_sets import specs
from mmrep.data.audit import duplicates
from mmrep.data.audit.hashes import digest, is_flat, perceptual, thumbnail
from mmrep.data.audit.source import open_splits

SETS = ("odir_96", "ham10000_64", "medpix2", "covid_cxr", "pneumoniamnist")
BOX, BILINEAR, NEAREST = Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.NEAREST


def shrunk(share: float, how: Image.Resampling) -> Callable[[Image.Image], Image.Image]:
    """A change of a picture: to `share` of its sides by a filter of Pillow's."""
    return lambda image: image.resize(tuple(max(round(n * share), 1) for n in image.size), how)


def jpeg(image: Image.Image) -> Image.Image:
    """The picture as a JPEG of quality 30."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=30)
    return Image.open(stream)


CHANGES = {"box 2/3": shrunk(2 / 3, BOX), "box 4/5": shrunk(4 / 5, BOX), "bilinear 1/2": shrunk(1 / 2, BILINEAR),
           "nearest 2/3": shrunk(2 / 3, NEAREST), "JPEG 30": jpeg}


def pictures(source: object) -> list[np.ndarray]:
    """The first picture of every row that has one, u8[H, W, C]; even ones, which are not compared, are left out."""
    found = [source[row].get("image") for row in range(len(source))]
    found = [one[0] if isinstance(one, list) else one for one in found if one is not None]
    return [one for one in found if one.dtype == np.uint8 and not is_flat(thumbnail(one))]


def known(images: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(hashes u64[n], thumbnails u8[n, 32, 32])."""
    thumbs = np.stack([thumbnail(one) for one in images])
    return np.array([perceptual(one) for one in thumbs], np.uint64), thumbs


def missed(originals: list[np.ndarray], change: Callable[[Image.Image], Image.Image]) -> int:
    """How many pictures, changed, are no near-duplicates of themselves."""
    anew = [np.asarray(change(Image.fromarray(one[..., 0] if one.shape[-1] == 1 else one))) for one in originals]
    (one, small), (other, changed) = known(originals), known([x if x.ndim == 3 else x[..., None] for x in anew])
    close = np.bitwise_count(one ^ other) <= duplicates.BITS
    return int((~close | (duplicates.correlation(small, changed) < duplicates.ALIKE)).sum())


def within(images: list[np.ndarray]) -> int:
    """How many pairs of pictures whose pixels differ are near-duplicates."""
    marks, (hashed, thumbs) = [digest(one) for one in images], known(images)
    pairs = {(a, b) for i, j in duplicates.near(hashed, thumbs, hashed, thumbs, within=True) for a, b in zip(i.tolist(), j.tolist())}
    return sum(marks[a] != marks[b] for a, b in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    data = parser.parse_args().data
    print(f"| set (pictures stored anew) | {' | '.join(CHANGES)} | pairs within train (pictures) |\n|{'---|' * (len(CHANGES) + 2)}")
    for name in SETS:
        images = pictures(open_splits(specs(data)[name])[0]["train"])
        drawn = [images[i] for i in np.random.default_rng(0).permutation(len(images))[:600]]
        print(f"| {name} ({len(drawn)}) | {' | '.join(str(missed(drawn, change)) for change in CHANGES.values())} | "
              f"{within(images)} ({len(images):,}) |", flush=True)


if __name__ == "__main__":
    main()
