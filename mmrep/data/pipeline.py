"""Input pipeline: step -> row ids -> read, transform, stack -> this host's block of the global batch.

The only user of grain, for its reader threads: one element of the grain dataset is one step's local batch. Row ids are
a pure function of (seed, step) and augmentation of (seed, row id, epoch), so batches do not depend on threads, hosts
or interruptions, and resuming is `start=step`.
"""

import functools
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from mmrep.data.batches import Spec, misfit, probe, stack, stack_block
from mmrep.data.example import Transform
from mmrep.data.mixture import Mixture, interleave
from mmrep.data.reading import read_rows, transformed_rows
from mmrep.data.rng import AUGMENT, COMPONENT, MIX, ORDER, Later, philox
from mmrep.data.sources import BadRow, bad_row, rows_of, where

_FOREVER = 2**40  # steps; grain wants a length


def plan(n: int, batch: int, seed: int, shuffle: bool = True, tag: int = ORDER) -> Callable[[int], tuple]:
    """Row order: step -> (ids i64[batch], epoch int), a pure function of its arguments.

    An epoch is n // batch batches of a fresh permutation from Philox(seed, epoch): no id twice in a batch; the
    remainder of an epoch is left out, another one each time. Raises ValueError where n < batch.
    """
    if n < batch or batch < 1:
        raise ValueError(f"batch of {batch} from {n} rows: an example would repeat within a batch; "
                         f"use a batch of 1 to {n}")
    per_epoch = n // batch

    @functools.lru_cache(maxsize=2)  # reader threads straddle two epochs at most
    def order(epoch: int) -> np.ndarray:
        return philox(seed, tag, epoch).permutation(n) if shuffle else np.arange(n)

    def rows(step: int) -> tuple[np.ndarray, int]:
        epoch, position = divmod(int(step), per_epoch)
        return order(epoch)[position * batch:(position + 1) * batch], epoch

    return rows


def source_plan(source: Any, batch: int, seed: int, shuffle: bool = True) -> Callable[[int], tuple]:
    """`plan` of a source, or of a mixture: each component its own plan at its fixed count, positions mixed by step."""
    if not isinstance(source, Mixture):
        return plan(len(source), batch, seed, shuffle)
    plans = []
    for number, (name, count) in enumerate(source.counts(batch).items()):
        size = len(source.components[number])
        if size < count:
            raise ValueError(f"mixture: {name!r} has {size} rows and gives {count} to a batch of {batch}; lower its "
                             f"weight or the batch size")
        plans.append(plan(size, count, seed, shuffle, tag=COMPONENT + number))
    return interleave(tuple(plans), source.offsets, lambda step: philox(seed, MIX, step).permutation(batch))


class _Steps:
    """What grain reads: element i is the local batch of step start + i."""

    def __init__(self, source: Any, rows: Callable, transform: Transform | None, spec: Spec, seed: int, start: int, steps: int,
                 block: slice, on_error: str | None, index_offset: int, late: bool = False):
        self.source, self.rows, self.transform, self.spec, self.seed = source, rows, transform, spec, seed
        self.start, self.steps, self.block = start, steps, block
        self.on_error, self.index_offset, self.late = on_error, index_offset, late

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, position: int) -> tuple[dict, dict[int, str], BadRow | None]:
        ids, epochs = self.rows(self.start + position)
        epochs = np.broadcast_to(epochs, ids.shape)[self.block]
        ids = ids[self.block]
        real = ids < len(self.source)  # ids beyond the source pad the last evaluation batch
        batch, bad, refused = self._whole(ids) if real.all() else None, {}, None
        if batch is None:
            batch, bad, refused = self._by_row(ids, epochs, real)
        batch["row"] = np.full(len(ids), -1, np.int32)
        batch["row"][real] = rows_of(self.source, ids[real])
        return batch, bad, refused

    def _by_row(self, ids: np.ndarray, epochs: np.ndarray, real: np.ndarray) -> tuple[dict, dict[int, str], BadRow | None]:
        examples: list[Any] = [None] * len(ids)
        bad: dict[int, str] = {}
        refused: BadRow | None = None
        places = np.flatnonzero(real)
        rows = [int(row) for row in ids[real]]
        found = read_rows(self.source, ids[real])
        if self.transform is not None:
            draws = [Later(functools.partial(philox, self.seed, AUGMENT, row, int(epoch))) for row, epoch in zip(rows, epochs[real])]
            found = transformed_rows(self.source, rows, found, self.transform, draws.__getitem__)
        for place, row, example in zip(places, rows, found):
            if not isinstance(example, BadRow) and (why := misfit(example, self.spec)):
                example = bad_row(self.source, row, ValueError(why))
            if isinstance(example, BadRow):
                if self.on_error == "raise" or self.on_error is None and not example.skip:
                    refused = refused or example
                else:
                    bad[row] = str(example)
            else:
                examples[place] = example
        batch = None
        if refused is None:
            try:
                batch = stack(examples, self.spec, ids + self.index_offset, lambda place: where(self.source, ids[place]))
            except ValueError as error:  # of one row, which it names
                refused = BadRow(str(error))
        if refused is not None and not self.late:
            raise refused
        if batch is None:
            batch = stack([None] * len(ids), self.spec, ids + self.index_offset, str)
        return batch, bad, refused

    def _whole(self, ids: np.ndarray) -> dict[str, Any] | None:
        """The batch straight from the source's block, several times faster; None where a row is bad or does not fit,
        or the transform has to see example by example."""
        change = getattr(self.transform, "block", None)
        if self.transform is not None and change is None or not hasattr(self.source, "block") or not len(ids):
            return None
        try:
            block = self.source.block(ids)
            return stack_block(change(block) if change else block, self.spec, ids + self.index_offset)
        except ValueError:  # BadRow among them: reading by row names the row
            return None


class Batches:
    """Iterator of local batches read ahead by grain threads; closes with `close()`, `with`, or at exit.

    `step` is the step of the next batch, `waited` the seconds spent waiting for data (the first batch included),
    `skipped` how many rows were masked because they could not be read, `bad` row id -> why, `spec` the rows' shapes; `refused` the first
    row that ends the pass, of batches that tell it late.
    """

    def __init__(self, steps: _Steps, threads: int, prefetch: int):
        import grain

        self.spec, self.step, self.waited, self.skipped = steps.spec, steps.start, 0.0, 0
        self.bad: dict[int, str] = {}
        self.refused: BadRow | None = None
        # Grain uses only as many threads as it buffers elements, and says so in a warning for every iterator.
        options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(prefetch, threads) if threads else 0)
        self._iterator = iter(grain.MapDataset.source(steps).to_iter_dataset(options))

    def __iter__(self) -> "Batches":
        return self

    def __next__(self) -> dict[str, Any]:
        if self._iterator is None:
            raise StopIteration
        began = time.perf_counter()
        try:
            batch, bad, refused = next(self._iterator)
        except BaseException:
            self.close()  # a failed or finished stream must not keep its threads
            raise
        self.waited += time.perf_counter() - began
        self.step += 1
        self.skipped += len(bad)
        self.bad |= bad
        self.refused = self.refused or refused
        return batch

    def close(self) -> None:
        """Stop the reader threads; idempotent."""
        if self._iterator is not None:
            self._iterator.close()
            self._iterator = None

    def __enter__(self) -> "Batches":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def _local(batch: int, host: int, hosts: int) -> slice:
    if not 0 <= host < hosts or batch % hosts:
        raise ValueError(f"batch of {batch} on host {host} of {hosts}: hosts must divide the batch and host lie in "
                         f"0..{hosts - 1}")
    size = batch // hosts
    return slice(host * size, (host + 1) * size)


def train_batches(source: Any, batch: int, seed: int, transform: Transform | None = None, start: int = 0, host: int = 0,
                  hosts: int = 1, threads: int = 2, prefetch: int = 2, on_error: str | None = None,
                  shuffle: bool = True, steps: int | None = None, index_offset: int = 0,
                  spec: Spec | None = None, late: bool = False) -> Batches:
    """Endless (or `steps` long) local batches of a source or mixture, from step `start` on.

    `batch` is the global batch size; host h gets its rows [h * batch / hosts, (h + 1) * batch / hosts). `on_error`:
    raise, skip (a row that cannot be read becomes a masked row), or None (what the source's own `on_error` says).
    `index_offset` is added to `index`, to keep several streams apart. Raises ValueError on sizes that do not divide,
    fewer rows than the batch, rows of different shapes. `index` is the row number in `source` (for a mixture, plus the
    component's offset), whatever index the source itself gives; `row` i32[B] is that in the source's file or table. late: a row that ends
    the run masks its host's batch and stands in the iterator's `refused`, for hosts that wait for each other to end together.
    """
    block = _local(batch, host, hosts)
    rows = source_plan(source, batch, seed, shuffle)
    spec = probe(source, transform, seed, on_error) if spec is None else spec
    length = _FOREVER if steps is None else max(steps - start, 0)
    return Batches(_Steps(source, rows, transform, spec, seed, start, length, block, on_error, index_offset, late),
                   threads, prefetch)


def eval_batches(source: Any, batch: int, transform: Transform | None = None, host: int = 0, hosts: int = 1, threads: int = 2,
                 prefetch: int = 2, on_error: str | None = None, seed: int = 0, index_offset: int = 0,
                 spec: Spec | None = None, late: bool = False) -> Batches:
    """One pass in row order: every example once on any number of hosts, each host the same number of full batches.

    The last batch is padded with masked rows (`valid` False, `row` -1); pass the training `spec` where a split lacks a
    modality. `on_error` and `late` as in `train_batches`; what was masked is counted in the iterator's `skipped`.
    """
    block = _local(batch, host, hosts)
    spec = probe(source, transform, seed, on_error) if spec is None else spec
    length = -(-len(source) // batch)
    rows = lambda step: (np.arange(step * batch, (step + 1) * batch), 0)  # noqa: E731
    return Batches(_Steps(source, rows, transform, spec, seed, 0, length, block, on_error, index_offset, late),
                   threads, prefetch)
