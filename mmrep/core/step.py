"""The train step: encode in micro-batches, losses, gradients, update; one path for every mix of objectives."""

import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmrep.core import optim, tree
from mmrep.core.names import located
from mmrep.core.sharding import ROWS, constrain, merge_rows, split_rows
from mmrep.core.types import Array, Batch, Encoded, Net, Objective, Params, Term, TrainState, View


def example_keys(rng: Array, index: Array) -> Array:
    """One key an example, from its index alone: independent of mesh, host and micro-batch."""
    return jax.vmap(jax.random.fold_in, (None, 0))(rng, index)


def presence(batch: Batch, views: Any) -> Array:
    """bool[B]: the rows that are no padding and hold every modality of `views`."""
    here = batch.get("valid", jnp.ones(batch["index"].shape, bool))
    for view in views:
        mark = batch.get("present", {}).get(view.modality)
        if mark is not None:
            here = here & (mark[:, view.sample] if mark.ndim == 2 else mark)
    return here


def _encoder(encode: Callable, params: Params, ema: dict, batch: Batch, rng: Array | None) -> Callable[[View], Encoded]:
    """view -> Encoded, each view computed once."""
    cache: dict[View, Encoded] = {}

    def encoded(view: View) -> Encoded:
        if view not in cache:
            keys = None
            if rng is not None:
                index = batch["rows"][view.row]["index"] if view.row else batch["index"]
                # a stable tag of the view; the net is left out: student and teacher drop the same tokens
                tag = zlib.crc32(repr(tuple(view._replace(net="", row=None))).encode()) & 0x7FFFFFFF
                keys = example_keys(jax.random.fold_in(rng, tag), index)
            weights = params["encoders"]
            if view.net != "student":
                weights = jax.lax.stop_gradient(tree.overlay(weights, ema[view.net].get("encoders", {})))
            result = encode(weights, view, batch["rows"][view.row] if view.row else batch, keys)
            cache[view] = jax.lax.stop_gradient(result) if view.net != "student" else result
        return cache[view]

    return encoded


def _wanted(terms: dict[str, Term]) -> list[tuple[View, str]]:
    """Every (view, field) that must outlive the micro-batches."""
    found = {(t.objective.views[v], field) for t in terms.values() for v, fields in t.objective.needs.items()
             for field in fields}
    return sorted(found, key=repr)


def _rows(batch: Batch, terms: dict[str, Term], chosen: dict[str, Array]) -> Batch:
    """The batch with other rows of it, which `after` terms read, under "rows"."""
    wanted = {view.row for term in terms.values() for view in term.objective.views.values() if view.row}
    rows = {row: jax.tree.map(lambda x: x[chosen[row]], batch) for row in sorted(wanted)}
    return batch | {"rows": constrain(rows, ROWS)}  # gathered rows are whole on every device otherwise, and so is all work on them


def _own_rows(name: str, objective: Objective) -> Objective:
    """The objective with its row names made its own: two terms of a kind must not read each other's rows."""
    mine = {view.row: f"{name}/{view.row}" for view in objective.views.values() if view.row}
    if not mine:
        return objective

    def loss(params: dict, state: dict, encodings: dict, batch: Batch, *rest: Any) -> tuple[Array, dict]:
        rows = {short: batch["rows"][own] for short, own in mine.items()}
        return objective.loss(params, state, encodings, batch | {"rows": rows}, *rest)

    def select(*args: Any) -> dict[str, Array]:
        return {f"{name}/{short}": rows for short, rows in objective.select(*args).items()}

    views = {k: view._replace(row=mine.get(view.row)) for k, view in objective.views.items()}
    return objective._replace(views=views, loss=loss, select=select)


def _when(on: Array | None, fn: Callable, *args: Any) -> Any:
    """fn(*args) where the term is on, else zeros with zero gradient, whatever fn would give; on=None is always."""
    if on is None:
        return fn(*args)
    nothing = lambda *a: jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(fn, *a))  # noqa: E731
    return jax.lax.cond(on, fn, nothing, *args)


def _pass(terms: dict[str, Term], batch: Batch, params: Params, ema: dict, aux: dict, rng: Array, hp: dict,
          encode: Callable, nets: dict[str, Callable], micro: int, on: dict[str, Array]) -> tuple[dict, Callable]:
    """One scanned forward pass: {term: {"loss", metric...}} of the separable terms, and the needs of any term."""
    wanted = _wanted(terms)
    keys = example_keys(rng, batch["index"])
    weights = {}
    for name, term in terms.items():
        if not term.objective.coupled:
            weigh = term.objective.weight or (lambda b, _, t=term: presence(b, t.objective.views.values()))
            with located(f"config.objectives.{name}"):
                weights[name] = weigh(batch, keys).astype(jnp.float32)
    totals = {n: jnp.maximum(w.sum(), jnp.finfo(jnp.float32).tiny) for n, w in weights.items()}

    def body(both: tuple[Batch, dict]) -> tuple[dict, list]:
        part, weights = both
        encoded = _encoder(encode, params, ema, part, rng)
        keys, sums = example_keys(rng, part["index"]), {}
        for name, weight in weights.items():
            objective = terms[name].objective
            with located(f"config.objectives.{name}"):
                value, metrics = _when(
                    on.get(name), lambda *a, loss=objective.loss: loss(*a, nets), params["objectives"].get(name, {}),
                    aux.get(name, {}), {v: encoded(view) for v, view in objective.views.items()}, part, keys,
                    hp["terms"][name])
            share = weight / totals[name]
            sums[name] = {m: _mean_parts(x, weight, share) for m, x in ({"loss": value} | metrics).items()}
        return sums, [getattr(encoded(view), field) for view, field in wanted]

    if micro == 1:
        sums, kept = body((batch, weights))
    else:
        sums, kept = jax.lax.map(jax.checkpoint(body, prevent_cse=False), split_rows((batch, weights), micro))
        sums, kept = jax.tree.map(lambda x: x.sum(0), sums), merge_rows(kept)
    sums = {n: {m: x[0] / jnp.maximum(x[1], jnp.finfo(jnp.float32).tiny) if isinstance(x, tuple) else x for m, x in of.items()}
            for n, of in sums.items()}
    table = dict(zip(wanted, constrain(kept, ROWS)))

    def needed(name: str) -> dict[str, Encoded]:
        objective = terms[name].objective
        return {v: Encoded(**{f: table[objective.views[v], f] for f in fields})
                for v, fields in objective.needs.items()}

    return sums, needed


def _mean_parts(x: Array | tuple[Array, Array], weight: Array, share: Array) -> Array | tuple[Array, Array]:
    """A micro-batch's part of a mean f[B] over rows; of a pair (values, known bool[B]) the sum over known rows and their
    number."""
    if isinstance(x, tuple):
        known = (weight > 0) & x[1]
        return jnp.where(known, x[0], 0.0).astype(jnp.float32).sum(), known.astype(jnp.float32).sum()
    # where: the value of a row of weight 0 may be NaN; its gradient may not, for 0 x NaN is NaN
    return jnp.where(weight > 0, x, 0.0).astype(jnp.float32) @ share


def make_loss(encode: Callable, nets: dict[str, Net], terms: dict[str, Term], micro: int = 1,
              complete: Callable[[Batch], Batch] = lambda batch: batch) -> Callable:
    """loss(params, ema, aux, streams, rng, step, hp) -> (f32[], (metrics, aux)), over {stream: global Batch}.

    encode(params["encoders"], view, batch, keys | None) -> Encoded. micro: number of micro-batches; the result does not
    depend on it. complete(batch): the batch as it is used, e.g. with `present` of what an encoder reads besides its modality.
    A coupled loss is exact, because only its inputs are computed in parts (cached encode; Gao 2021).
    """

    terms = {n: t._replace(objective=_own_rows(n, t.objective)) for n, t in terms.items()}

    def loss(params: Params, ema: dict, aux: dict, streams: dict[str, Batch], rng: Array, step: Array, hp: dict
             ) -> tuple[Array, tuple[dict, dict]]:
        on = {n: optim.active(step, h) for n, h in hp["terms"].items() if any(k in h for k in optim.WINDOW)}
        scaled = partial(encode, measured=hp["inputs"]) if "inputs" in hp else encode
        bound = {n: (lambda *a, net=net, n=n, **k: net.apply(params["nets"][n], *a, **k)) for n, net in nets.items()}
        results, new_aux = {}, dict(aux)
        for stream, batch in streams.items():
            batch = complete(batch)
            mine = {n: t for n, t in terms.items() if t.stream == stream}
            first = {n: t for n, t in mine.items() if t.objective.after is None}
            second = {n: t for n, t in mine.items() if n not in first}
            rest = (params, ema, aux, rng, hp, scaled, bound, micro, on)
            sums, needed = _pass(first, batch, *rest)
            keys = example_keys(rng, batch["index"])
            for name, term in first.items():
                if term.objective.coupled:
                    with located(f"config.objectives.{name}"):
                        value, metrics = _when(
                            on.get(name), lambda *a, loss=term.objective.loss: loss(*a, bound),
                            params["objectives"].get(name, {}), aux.get(name, {}), needed(name), batch, keys,
                            hp["terms"][name])
                    sums[name] = {"loss": value} | metrics
            if second:
                chosen = {}
                for name, term in second.items():
                    o = term.objective
                    with located(f"config.objectives.{name}"):
                        chosen |= jax.lax.stop_gradient(o.select(
                            params["objectives"].get(o.after, {}), needed(o.after), batch, keys, hp["terms"][o.after]))
                sums |= _pass(second, _rows(batch, second, chosen), *rest)[0]
            for name, term in first.items():
                if term.objective.update:
                    with located(f"config.objectives.{name}"):
                        new_aux[name] = jax.lax.stop_gradient(
                            term.objective.update(aux[name], needed(name), batch, hp["terms"][name]))
            results |= sums
        total, metrics = 0.0, {}
        for name in terms:
            weight = optim.term_weight(step, hp["terms"][name])
            total = total + weight * results[name]["loss"]
            # a term outside its steps has no number, not a loss of 0
            metrics |= {f"{name}/{m}": jnp.where(on[name], x, jnp.nan) if name in on else x for m, x in results[name].items()}
        return total, ({"loss": total} | metrics, new_aux)

    return loss


def make_step(loss: Callable, tx: Any, schedule: Callable, planned: optim.Plan, frozen: set[str],
              ema_names: tuple[str, ...] = (), clip: bool = True) -> Callable:
    """step(state, streams, hp, go=True) -> (state, metrics).

    metrics["finite"]: bool[leaves + 2]: of the loss, each trained leaf's gradient and the norm of all, in the order of
    `finite_names`; where one is False the state comes back as it was, as it does without `go`, which the step before
    gave as metrics["go"]: the host learns of a bad step one step late, and the next one must not build on it.
    """

    def step(state: TrainState, streams: dict[str, Batch], hp: dict, go: Array | bool = True) -> tuple[TrainState, dict]:
        trained = tree.prune(state.params, lambda p: p not in frozen)
        rng = jax.random.fold_in(state.rng, state.step)

        def of(trained: Params) -> tuple[Array, tuple[dict, dict]]:
            return loss(tree.overlay(state.params, trained), state.ema, state.aux, streams, rng, state.step, hp)

        (value, (metrics, aux)), grads = jax.value_and_grad(of, has_aux=True)(trained)
        grads = optim.without_frozen(grads, planned, hp["rules"], state.step)
        squares = jnp.stack([jnp.vdot(g, g).astype(jnp.float32) for g in jax.tree.leaves(grads)])
        # `good` is read off the square root, which XLA does not copy into its readers: a sum (or all(isfinite)) over the
        # leaves would be computed anew inside every leaf's kernels, at 3x the compile time
        norm = jnp.sqrt(squares.sum())
        good = jnp.isfinite(norm + value) & go
        finite = jnp.isfinite(jnp.concatenate([value[None], squares, norm[None]]))
        scale = jnp.minimum(1.0, hp["optim"]["clip"] / jnp.maximum(norm, 1e-12))
        lr = optim.learning_rate(schedule, state.step, hp["optim"])
        if clip:
            grads = jax.tree.map(lambda g: g * scale.astype(g.dtype), grads)
        directions, opt = tx.update(grads, state.opt, trained)
        new = optim.apply(trained, directions, lr, hp["optim"]["wd"], planned, hp["rules"], state.step)
        ema = {n: optim.ema_update(state.ema[n], new, optim.ema_decay(state.step, hp["ema"][n], hp["optim"]["total"], n == "eval"))
               for n in ema_names}
        after = TrainState(state.step + 1, tree.overlay(state.params, new), opt, ema, aux, state.rng)
        after = jax.tree.map(lambda a, b: jnp.where(good, a, b), after._replace(rng=None),
                             state._replace(rng=None))._replace(rng=state.rng)
        return after, metrics | _group_norms(tree.paths(grads), squares) | {
            "grad_norm": norm, "lr": lr, "finite": finite, "go": good}

    return step


def _group_norms(paths: list[str], squares: Array) -> dict[str, Array]:
    """Gradient norms of encoders/image, objectives/clip, ..."""
    groups = ["/".join(p.split("/")[:2]) for p in paths]
    return {f"grad_norm/{g}": jnp.sqrt(squares @ np.array([g == other for other in groups], np.float32))
            for g in dict.fromkeys(groups)}


def finite_names(params: Params, frozen: set[str]) -> list[str]:
    """What each entry of metrics["finite"] speaks of."""
    return ["loss", *tree.paths(tree.prune(params, lambda p: p not in frozen)), "gradient norm"]
