"""InfoNCE between any two views (CLIP, ConVIRT, MedCLIP's soft targets) and its queue form (MoCo)."""

import jax
import jax.numpy as jnp

from mmrep.core.names import nearest, within
from mmrep.core.step import presence
from mmrep.core.types import Array, Batch, Encoded, Objective
from mmrep.objectives.allpairs import infonce
from mmrep.objectives.views import as_view, need


@jax.custom_vjp
def at_most(x: Array, limit: Array) -> Array:
    """min(x, limit), whose gradient still leads back below the limit; a plain minimum would hold x there for good."""
    return jnp.minimum(x, limit)


def _at_most_back(over: Array, g: Array) -> tuple[Array, Array]:
    return jnp.where(over & (g < 0), 0.0, g), jnp.zeros_like(g)  # descent along g < 0 would raise x further


at_most.defvjp(lambda x, limit: (jnp.minimum(x, limit), x > limit), _at_most_back)


def logit_scale(params: dict, hp: dict) -> Array:
    """exp of the learned log scale, clamped to `max_scale`; 1 / temperature where it is not learned."""
    if "logit_scale" not in params:
        return 1.0 / hp["temperature"]
    return jnp.exp(at_most(params["logit_scale"], jnp.log(hp["max_scale"])))


SIMILARITIES = ("cosine", "dot", "l2")


def as_products(u: Array, v: Array) -> tuple[Array, Array]:
    """Vectors f[B, D + 2] whose inner products are -|u_i - v_j|^2."""
    one, a, b = jnp.ones((len(u), 1), u.dtype), (u * u).sum(-1, keepdims=True), (v * v).sum(-1, keepdims=True)
    return jnp.concatenate([2 * u, a, one], -1), jnp.concatenate([v, -one, -b], -1)


def contrastive(a: str | dict = "image", b: str | dict = "text", *, direction: float = 0.5, smoothing: float = 0.0,
                temperature: float = 0.07, learn_temperature: bool = True, max_scale: float = 100.0,
                group: bool = True, soft: bool = False, soft_temperature: float = 1.0, method: str = "auto",
                similarity: str = "cosine") -> Objective:
    """Symmetric InfoNCE over the global batch (CLIP, Radford 2021; ConVIRT, Zhang 2022: direction 0.75).

    L = mean_i [ w CE(S_i., P_i.) + (1 - w) CE(S_.i, P_.i) ], S = s u v^T over rows that hold both modalities.
    direction: w, of a -> b. smoothing: label smoothing. group: rows with the same `group` are positives, sharing the
    target equally. soft: targets softmax(L L^T / soft_temperature) from the batch's `soft` labels f32[B, K] instead
    (MedCLIP, Wang 2022). method: of `allpairs.infonce`. similarity: "cosine" of the embeddings, or of the encoders' outputs before the head
    "dot" (Jing 2022) or "l2", -|u - v|^2 (Zimmermann 2021, eq. 4, p = 2; Daunhawer 2023), which are not normalized.
    """
    views = {"a": as_view(a), "b": as_view(b)}
    if similarity not in SIMILARITIES:
        raise ValueError(f"similarity: unknown {similarity!r}; {nearest(similarity, SIMILARITIES)}")
    field = "embedding" if similarity == "cosine" else "pooled"
    for name, value in (("temperature", temperature), ("max_scale", max_scale), ("soft_temperature", soft_temperature)):
        within(name, value, 0, low_open=True)
    for name, value in (("direction", direction), ("smoothing", smoothing)):
        within(name, value, 0, 1)

    def init(rng: Array, shapes: dict, hp: dict) -> tuple[dict, dict]:
        if soft:
            need(shapes["batch"], "soft")
        return ({"logit_scale": -jnp.log(hp["temperature"])} if learn_temperature else {}), {}

    def loss(params: dict, state: dict, encodings: dict[str, Encoded], batch: Batch, keys: Array, hp: dict, nets: dict
             ) -> tuple[Array, dict]:
        scale = logit_scale(params, hp)
        u, v = (getattr(encodings[view], field).astype(jnp.float32) for view in ("a", "b"))
        value = infonce(*(as_products(u, v) if similarity == "l2" else (u, v)), scale,
                        group=batch.get("group") if group and not soft else None,
                        soft=batch["soft"] if soft else None, valid=presence(batch, views.values()),
                        direction=hp["direction"], smoothing=hp["smoothing"],
                        soft_temperature=hp["soft_temperature"], method=method)
        return value, {"scale": scale}

    return Objective(views, loss, coupled=True, needs={"a": (field,), "b": (field,)}, init=init,
                     hp={"direction": direction, "smoothing": smoothing, "temperature": temperature,
                         "max_scale": max_scale, "soft_temperature": soft_temperature})


def moco(query: str | dict = "image", key: str | dict | None = None, *, temperature: float = 0.2, queue: int = 4096,
         teacher: str = "teacher") -> Objective:
    """InfoNCE of a query against the teacher's key and a queue of earlier keys (MoCo, He 2020, eq. 1).

    key: the other view (default: sample 1 of the query's modality), encoded by the EMA `teacher`; queue: its length.
    """
    within("temperature", temperature, 0, low_open=True)
    q = as_view(query)
    views = {"query": q, "key": as_view(key or {"modality": q.modality, "sample": 1})._replace(net=teacher)}

    def init(rng: Array, shapes: dict, hp: dict) -> tuple[dict, dict]:
        rows = len(shapes["batch"]["index"]) if "batch" in shapes else 0
        if rows > queue:
            raise ValueError(f"queue: {queue} is shorter than the batch, {rows}")
        keys = jax.random.normal(rng, (queue, shapes["key"].embedding.shape[-1]))
        return {}, {"queue": keys / jnp.linalg.norm(keys, axis=1, keepdims=True), "at": jnp.zeros((), jnp.int32)}

    def loss(params: dict, state: dict, encodings: dict[str, Encoded], batch: Batch, keys: Array, hp: dict, nets: dict
             ) -> tuple[Array, dict]:
        q, k = encodings["query"].embedding, encodings["key"].embedding
        positive = (q * k).sum(1) / hp["temperature"]
        queued = q @ state["queue"].T / hp["temperature"]
        value = jnp.logaddexp(positive, jax.nn.logsumexp(queued, axis=1)) - positive
        return value, {"accuracy": (positive > queued.max(1)).astype(jnp.float32)}

    def update(state: dict, encodings: dict[str, Encoded], batch: Batch, hp: dict) -> dict:
        new, here = encodings["key"].embedding, presence(batch, views.values())
        # absent rows take no slot: the others move up
        slot = (state["at"] + jnp.cumsum(here) - 1) % queue
        slot = jnp.where(here, slot, queue)
        return {"queue": state["queue"].at[slot].set(new, mode="drop"),
                "at": ((state["at"] + here.sum()) % queue).astype(jnp.int32)}

    return Objective(views, loss, coupled=False, needs={"key": ("embedding",)}, init=init, update=update,
                     hp={"temperature": temperature})
