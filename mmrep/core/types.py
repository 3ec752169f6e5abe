"""The records that encoders, objectives and the step exchange; see README, "add an objective"."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

Array = jax.Array
Params = dict[str, Any]
Batch = dict[str, Any]


class View(NamedTuple):
    """One way of looking at a modality; equal views of a step share one forward pass.

    modality: batch key, e.g. "image".
    sample: which one, where the batch holds several of a modality as [B, S, ...].
    crop: batch key `modality/crop` is read instead (crops of another size); same encoder.
    mask: share of patch tokens dropped at random (MAE, FLIP), in [0, 1); None keeps all.
    causal: text attends to the left only.
    net: "student" (trained params) or the name of an entry of `TrainState.ema` (no gradient).
    row: None (each example's own) or a name that the objective's own `select` gave: other rows of the batch.
    """

    modality: str
    sample: int = 0
    crop: str | None = None
    mask: float | None = None
    causal: bool = False
    net: str = "student"
    row: str | None = None


class Encoded(NamedTuple):
    """What an encoder gives for B examples.

    tokens: f[B, N, D]; mask: bool[B, N], False on padding; pooled: f[B, D]; embedding: f32[B, E], unit norm.
    levels: tuple of f[B, *grid, C], for pyramids; word_ids: i32[B, N], for text.
    out: every intermediate by name (`block00`, ..., `keep` = ids i32[B, n] of the tokens a mask left).
    """

    tokens: Any = None
    mask: Any = None
    pooled: Any = None
    embedding: Any = None
    levels: Any = ()
    word_ids: Any = None
    out: Any = {}


def _nothing(rng: Array, shapes: dict, hp: dict) -> tuple[dict, dict]:
    return {}, {}


class Objective(NamedTuple):
    """A loss as pure functions. The names of `views` are the keys of `encodings`.

    views: {name: View} of what it encodes.  needs: {name: fields of Encoded} that must outlive the micro-batches
        (what a coupled loss, `select` or `update` reads); a separable loss reads whole encodings inside.
    loss(params, state, encodings, batch, keys, hp, nets) -> (value, metrics)
        separable: value f32[B], metrics {name: f32[B]}, both averaged with `weight` over the global batch; a metric may be
        a pair (values f32[B], known bool[B]), averaged over the known rows.
        coupled: value f32[] over all pairs of the global batch, metrics {name: f32[]}.
        keys: [B] typed random keys, one an example.  nets: {name: pure function} from `config.nets`.
    weight(batch, keys) -> f32[B], a separable term's weights, evaluated on the global batch before any split.
    init(rng, shapes, hp) -> (params, state); shapes = {view: Encoded of ShapeDtypeStruct, "batch": the batch's,
        "nets": {name: Net}}.
    update(state, encodings, batch, hp) -> state, once a step from the global batch (queues, centers).
    select(params, encodings, batch, keys, hp) -> {row name: i32[B]}, from the needs, params and hp of the term `after`,
        whose views it takes; rows are then read by `View.row`, in a second forward pass. Such a term is separable and has no
        `update`.
    hp: the scalars that may change without a new program, with their values.
    """

    views: dict[str, View]
    loss: Callable
    coupled: bool
    needs: dict[str, tuple[str, ...]] = {}
    weight: Callable | None = None
    init: Callable = _nothing
    update: Callable | None = None
    select: Callable | None = None
    after: str | None = None
    hp: dict[str, float] = {}


class Net(NamedTuple):
    """A module several terms share (fusion).

    init(rng, encoded: {modality: Encoded of ShapeDtypeStruct}) -> params; apply(params, ...) -> f[B, N, width].
    """

    init: Callable
    apply: Callable
    width: int


class Term(NamedTuple):
    """An objective in its place: the stream that feeds it."""

    objective: Objective
    stream: str = "main"


class TrainState(NamedTuple):
    """Everything a run is besides its config and data.

    step: i32[]; params: {"encoders", "objectives", "nets"}; opt: optimizer state of the trained leaves;
    ema: {name: a copy of the trained leaves}; aux: {term: state}; rng: typed key.
    """

    step: Any
    params: Params
    opt: Any
    ema: dict[str, Params]
    aux: dict[str, Any]
    rng: Any
