"""Image-text matching with hard negatives from a contrastive term: a second forward pass (ALBEF)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from mmrep.core.step import presence
from mmrep.core.types import Array, Batch, Encoded, Objective
from mmrep.objectives.contrastive import logit_scale
from mmrep.objectives.views import as_view, shared_net

HARD_A, HARD_B = "hard_a", "hard_b"


def _hard(u: Array, v: Array, scale: Array, group: Array, valid: Array, keys: Array, chunk: int = 1024) -> Array:
    """For each row of u, a row of v of another group, drawn with probability softmax(s u.v); i32[B].

    Memory O(chunk x B). A row's draw uses its own key (Gumbel trick).
    """
    n = len(u)

    def one(args: tuple) -> Array:
        x, g, key = args
        logits = scale * (v @ x)
        logits = jnp.where((group != g) & valid, logits, -1e9)
        return jnp.argmax(logits + jax.random.gumbel(key, (n,))).astype(jnp.int32)

    return jax.lax.map(one, (u, group, keys), batch_size=min(chunk, n))


def matching(a: str | dict = "image", b: str | dict = "text", *, after: str, net: str = "fusion") -> Objective:
    """Binary cross-entropy of (a, b) pairs being matched, the true ones against two hard negatives an example.

    Negatives are drawn by the similarities of the contrastive term `after` (ALBEF, Li 2021, section 3.2): for each a
    another b, for each b another a, never of the same `group`. net: the fusion of `config.nets` that reads b's
    tokens with a as context; its first token is classified.
    """
    va, vb = as_view(a), as_view(b)
    views = {"a": va, "b": vb, "hard_a": va._replace(row=HARD_A), "hard_b": vb._replace(row=HARD_B)}
    head = nn.Dense(2)

    def groups(batch: Batch) -> Array:
        group = batch.get("group")
        # an example without a group is alone in its own; indices are shifted out of the groups' way
        return batch["index"] if group is None else jnp.where(group >= 0, group, -1 - batch["index"])

    def select(params: dict, encodings: dict[str, Encoded], batch: Batch, keys: Array, hp: dict) -> dict[str, Array]:
        u, v = encodings["a"].embedding, encodings["b"].embedding
        scale = logit_scale(params, hp)
        here, group = presence(batch, (va, vb)), groups(batch)
        tagged = [jax.vmap(lambda k, t=t: jax.random.fold_in(k, t))(keys) for t in (1, 2)]
        return {HARD_B: _hard(u, v, scale, group, here, tagged[0]),
                HARD_A: _hard(v, u, scale, group, here, tagged[1])}

    def init(rng: Array, shapes: dict, hp: dict) -> tuple[dict, dict]:
        return head.init(rng, jnp.zeros((1, shared_net(shapes, net).width)))["params"], {}

    def loss(params: dict, state: dict, encodings: dict[str, Encoded], batch: Batch, keys: Array, hp: dict, nets: dict
             ) -> tuple[Array, dict]:
        def logits(x: Encoded, y: Encoded) -> Array:
            fused = nets[net](y.tokens, y.mask, x.tokens, x.mask)
            return jax.nn.log_softmax(head.apply({"params": params}, fused[:, 0].astype(jnp.float32)))

        e, own = encodings, groups(batch)
        pairs = [(e["a"], e["b"], 1, None), (e["a"], e["hard_b"], 0, HARD_B), (e["hard_a"], e["b"], 0, HARD_A)]
        value, right, count = 0.0, 0.0, 0.0
        for x, y, label, row in pairs:
            p = logits(x, y)
            # a row without any true negative drew one of its own group or an absent one: that pair does not count
            ok = jnp.ones(len(p)) if row is None else ((groups(batch["rows"][row]) != own)
                                                       & presence(batch["rows"][row], (va, vb))).astype(jnp.float32)
            value, count = value - p[:, label] * ok, count + ok
            right = right + (p.argmax(1) == label) * ok
        return value / count, {"accuracy": right / count}

    return Objective(views, loss, coupled=False, init=init, select=select, after=after)
