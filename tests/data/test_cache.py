"""The decoded cache: what it gives is what its source would, whether rows are kept by column, by row, or read anew."""

import threading

import numpy as np
import pytest

from mmrep.data import tokenizers
from mmrep.data.cache import cached
from mmrep.data.pipeline import eval_batches, train_batches
from mmrep.data.sources import BadRow, arrays, subset
from mmrep.data.streams import stream_transform
from mmrep.data.transforms import compose, random_crop, resize
from tests.data.test_pipeline import take, tiny


class Table:
    """24 rows: pictures of two sizes after row `odd`, texts, findings and groups that some rows lack; row `bad` cannot be read."""
    fields = ("image", "text", "tabular")

    def __init__(self, odd=24, bad=None):
        self.odd, self.bad, self.reads = odd, bad, []

    def __len__(self):
        return 24

    def __getitem__(self, row):
        self.reads.append(row)
        if row == self.bad:
            raise BadRow(f"row {row} is corrupt", skip=True)
        side = 12 if row < self.odd else 10
        example = {"image": np.full((side, side, 1), row, np.uint8), "label/x": row % 3, "label/f": np.float32(row)}
        example |= {"text": f"finding {row}"} if row % 4 else {}
        example |= {"tabular": np.array([row, 1.0])} if row % 5 else {}
        return example | ({"group": np.int32(row // 2)} if self.odd < 24 and row % 2 else {})


def same(a, b):
    assert a.keys() == b.keys()
    for key in a:
        if isinstance(a[key], dict):
            same(a[key], b[key])
        else:  # equal_nan: a label that a row lacks
            x, y = np.asarray(a[key]), np.asarray(b[key])
            assert x.dtype == y.dtype and np.array_equal(x, y, equal_nan=x.dtype.kind == "f"), key


TOKENS = stream_transform({}, tokenizers.byte(), 12, True, "data.main")
AUGMENT = stream_transform({"augment": ({"name": "random_crop", "size": 8}, {"name": "intensity"})}, tokenizers.byte(), 12, True, "main")
SMALL = compose([resize(size=8)])


@pytest.mark.parametrize("transform", [None, TOKENS, AUGMENT])
@pytest.mark.parametrize("source", [lambda: tiny(40), Table, lambda: Table(bad=5), lambda: Table(odd=17)])
def test_cached_batches_are_the_uncached_ones(source, transform):
    prepare = SMALL if isinstance(source(), Table) and source().odd < 24 else None
    plain = take(train_batches(cached(source(), 0, prepare), 6, 3, transform, threads=0), 12)
    for limit in (4 * 2**30, 1500, 700, 100):  # all of it by column; by row; some rows; none
        kept = cached(source(), limit, prepare)
        for threads in (0, 2):
            for a, b in zip(plain, take(train_batches(kept, 6, 3, transform, threads=threads), 12)):
                same(a, b)
        for a, b in zip(eval_batches(cached(source(), 0, prepare), 7, transform), eval_batches(kept, 7, transform)):
            same(a, b)
        assert kept.bytes <= limit


def test_a_set_that_fits_is_read_once_and_served_as_a_block():
    table = Table()
    kept = cached(table)
    take(train_batches(kept, 6, 0, TOKENS, threads=0), 8)
    block = kept.block(np.arange(24))
    assert sorted(set(table.reads)) == list(range(24)) and len(table.reads) == 24
    assert block["image"].shape == (24, 12, 12, 1) and block["text"][:2] == ["", "finding 1"]
    assert block["present"]["text"].tolist() == [row % 4 > 0 for row in range(24)]
    block["image"][:] = 99  # a copy
    assert kept[3]["image"][0, 0, 0] == 3 and "text" not in kept[4] and kept[3]["label/x"] == 0
    with pytest.raises(ValueError, match="read-only"):
        kept[3]["image"][0] = 1
    assert kept.bytes == sum(144 + 2 * 64 + 64 * (row % 4 > 0) + 16 * (row % 5 > 0) for row in range(24))
    part = subset(kept, [5, 2])
    assert part.block(np.array([1, 0]))["image"][:, 0, 0, 0].tolist() == [2, 5]


def test_what_does_not_fit_or_differs_is_kept_by_row_and_never_read_for_nothing():
    table = Table()
    small = cached(table, limit_bytes=24 * 200)  # 24 pictures fit, their labels, texts and tables do not
    first = take(train_batches(small, 6, 0, TOKENS, threads=0), 1)
    with pytest.raises(ValueError, match="do not fit"):
        small.block(np.arange(3))
    count = len(table.reads)
    again = take(train_batches(small, 6, 0, TOKENS, threads=0), 1)
    same(first[0], again[0])
    assert len(table.reads) == count and small.bytes <= 24 * 200
    lacking = cached(Table(odd=23))  # groups that some rows lack have no value in a block
    lacking.read(np.arange(20))
    with pytest.raises(ValueError, match="not every row has 'group'"):
        lacking.block(np.arange(4))
    assert "block" not in vars(cached(Table(), 0, SMALL))
    with pytest.raises(BadRow, match="row 5 is corrupt"):
        cached(Table(bad=5)).block(np.array([4, 5]))


def test_random_preparation_and_threads_give_the_same_rows():
    prepare = compose([random_crop(size=8)])
    want = cached(Table(), 0, prepare).read(np.arange(24))
    kept, found = cached(Table(), prepare=prepare), {}
    workers = [threading.Thread(target=lambda n=n: found.update({n: [kept.read(np.roll(np.arange(24), n)) for _ in range(3)]}))
               for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for n, rounds in found.items():
        for rows in rounds:
            for row, one in zip(np.roll(np.arange(24), n), rows):
                assert np.array_equal(one["image"], want[row]["image"]) and one.keys() == want[row].keys()
    assert len(found) == 4


def test_objects_and_several_samples_are_no_columns():
    flags = arrays(image=np.ones((6, 2, 4, 4, 1), np.uint8))
    flags.block = lambda rows, block=flags.block: {**block(rows), "present": {"image": np.array([[True, r % 2 == 0] for r in rows])}}
    kept = cached(flags)
    for _ in range(2):
        batch = next(eval_batches(kept, 6))
        assert batch["present"]["image"].tolist() == [[True, r % 2 == 0] for r in range(6)]
