"""Every small objective against a naive reference written from its formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmrep.core import step
from mmrep.core.types import Encoded, Term
from mmrep.encoders import ENCODERS
from mmrep.objectives import OBJECTIVES

B, E = 6, 5


@pytest.fixture
def rng():
    return np.random.Generator(np.random.Philox(3))


def unit(rng, n=B, d=E):
    x = rng.normal(size=(n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def keys(n=B, seed=0):
    return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), jnp.arange(n))


def hp(objective):
    return jax.tree.map(jnp.float32, dict(objective.hp))


def batch(**fields):
    return {"index": jnp.arange(B), "valid": jnp.ones(B, bool), "present": {}} | fields


def test_moco_is_cross_entropy_over_positive_and_queue(rng):
    o = OBJECTIVES["moco"](temperature=0.3, queue=7)
    shapes = {"key": Encoded(embedding=jax.ShapeDtypeStruct((B, E), jnp.float32))}
    params, state = o.init(jax.random.key(1), shapes, hp(o))
    q, k = unit(rng), unit(rng)
    encodings = {"query": Encoded(embedding=q), "key": Encoded(embedding=k)}
    value, metrics = o.loss(params, state, encodings, batch(), keys(), hp(o), {})
    for i in range(B):
        logits = np.array([q[i] @ k[i], *(q[i] @ c for c in np.asarray(state["queue"]))]) / 0.3
        assert np.isclose(value[i], -np.log(np.exp(logits[0]) / np.exp(logits).sum()), rtol=1e-5)
        assert metrics["accuracy"][i] == (logits.argmax() == 0)
    # the queue is a ring: absent rows take no slot
    here = np.array([1, 1, 0, 1, 1, 1], bool)
    new = o.update(state | {"at": jnp.int32(5)}, encodings, batch(valid=jnp.asarray(here)), hp(o))
    expected = np.asarray(state["queue"]).copy()
    expected[[5, 6, 0, 1, 2]] = k[here]
    assert np.array_equal(new["queue"], expected) and int(new["at"]) == 3


def test_distill_is_two_minus_two_cosines(rng):
    o = OBJECTIVES["distill"](hidden=8)
    views = {v: Encoded(embedding=unit(rng)) for v in o.views}
    params, _ = o.init(jax.random.key(0), {v: jax.eval_shape(lambda: e) for v, e in views.items()}, {})
    value, _ = o.loss(params, {}, views, batch(), keys(), {}, {})

    def predict(x):
        p = jax.tree.map(np.asarray, params)
        y = x @ p["up"]["kernel"] + p["up"]["bias"]
        y = (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-6)
        y = np.asarray(jax.nn.gelu(y * p["norm"]["scale"] + p["norm"]["bias"]))
        y = y @ p["down"]["kernel"] + p["down"]["bias"]
        return y / np.linalg.norm(y, axis=-1, keepdims=True)

    one = 2 - 2 * (predict(views["a"].embedding) * views["b_teacher"].embedding).sum(-1)
    two = 2 - 2 * (predict(views["b"].embedding) * views["a_teacher"].embedding).sum(-1)
    assert np.allclose(value, (one + two) / 2, rtol=1e-4, atol=1e-5)
    assert o.views["b_teacher"].net == "teacher" and o.views["b"].net == "student"


def test_masked_scores_only_hidden_patches_against_standardized_pixels(rng):
    o = OBJECTIVES["masked"](ratio=0.5, width=8, depth=1, heads=2)
    image = rng.integers(0, 256, (B, 8, 8, 1)).astype(np.uint8)
    encoder = ENCODERS["vit"](patch=(4, 4), width=8, depth=1, heads=2, pool="cls")
    variables = encoder.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
    encoded = encoder.apply(variables, image / 127.5 - 1, keys(), 0.5)
    shapes = {"visible": jax.eval_shape(lambda: encoded), "batch": {"image": jax.ShapeDtypeStruct(image.shape, jnp.uint8)}}
    params, _ = o.init(jax.random.key(1), shapes, {})
    value, _ = o.loss(params, {}, {"visible": encoded}, batch(image=jnp.asarray(image)), keys(), {}, {})

    from mmrep.decoders.masked import MaskedDecoder
    keep = np.asarray(encoded.out["keep"])
    predicted = np.asarray(MaskedDecoder(16, (2, 2), 8, 1, 2).apply({"params": params}, encoded.tokens[:, 1:], keep))
    for i in range(B):
        errors = []
        for n, (r, c) in enumerate([(0, 0), (0, 4), (4, 0), (4, 4)]):
            if n not in keep[i]:
                target = (image[i, r:r + 4, c:c + 4, 0] / 127.5 - 1).reshape(-1)
                target = (target - target.mean()) / np.sqrt(target.var() + 1e-6)
                errors.append(((predicted[i, n] - target) ** 2).mean())
        assert len(errors) == 2 and np.isclose(value[i], np.mean(errors), rtol=1e-4)


def test_supervised_sums_heads_and_ignores_unknown_labels(rng):
    heads = {"class": {"kind": "ce", "classes": 3}, "findings": {"kind": "bce", "classes": 2, "weight": 0.5}}
    o = OBJECTIVES["supervised"](heads=heads)
    x = rng.normal(size=(B, E)).astype(np.float32)
    encoded = Encoded(pooled=jnp.asarray(x))
    labels = {"label/class": jnp.array([0, 1, 2, -1, 1, -1]),
              "label/findings": jnp.array([[0, 1], [1, 1], [-1, 0], [0, 0], [-1, -1], [-1, -1]])}
    shapes = {"x": jax.eval_shape(lambda: encoded), "batch": batch(**labels)}
    params, _ = o.init(jax.random.key(0), shapes, {})
    for missing, message in (("label/class", "heads.class: the data have no 'class'"), ("label/findings", "heads.findings")):
        with pytest.raises(ValueError, match=message):
            o.init(jax.random.key(0), shapes | {"batch": {k: v for k, v in batch(**labels).items() if k != missing}}, {})
    value, _ = o.loss(params, {}, {"x": encoded}, batch(**labels), keys(), {}, {})
    p = jax.tree.map(np.asarray, params)
    for i in range(B):
        want, c = 0.0, int(labels["label/class"][i])
        logits = x[i] @ p["class"]["kernel"] + p["class"]["bias"]
        want += (np.log(np.exp(logits).sum()) - logits[c]) if c >= 0 else 0
        z = x[i] @ p["findings"]["kernel"] + p["findings"]["bias"]
        known = [(z[k], int(y)) for k, y in enumerate(labels["label/findings"][i]) if y >= 0]
        want += 0.5 * np.mean([np.log1p(np.exp(z)) - y * z for z, y in known]) if known else 0
        assert np.isclose(value[i], want, rtol=1e-5, atol=1e-6)
    assert np.array_equal(o.weight(batch(**labels), keys()), [1, 1, 1, 1, 1, 0])
    _, metrics = o.loss(params, {}, {"x": encoded}, batch(**labels), keys(), {}, {})
    known = np.asarray(labels["label/class"]) >= 0
    assert np.array_equal(metrics["class/accuracy"][1], known)  # averaged over the rows that know this label
    right = (x @ p["class"]["kernel"] + p["class"]["bias"]).argmax(1) == np.asarray(labels["label/class"])
    assert np.array_equal(np.asarray(metrics["class/accuracy"][0])[known], right[known])
    with pytest.raises(ValueError, match="heads.class"):
        OBJECTIVES["supervised"](heads={"class": {"kind": "softmax", "classes": 3}})


def test_caption_is_next_token_cross_entropy_without_padding(rng):
    o, length = OBJECTIVES["caption"](vocab=7), 5
    ids = np.array([[1, 3, 4, 2, 0], [1, 5, 2, 0, 0]], np.int32)
    fused = rng.normal(size=(2, length, E)).astype(np.float32)
    seen = {}

    def net(x, mask, context, context_mask, causal=False):
        seen["causal"] = causal
        return jnp.asarray(fused)

    text = Encoded(tokens=jnp.zeros((2, length, E)), mask=jnp.asarray(ids != 0), word_ids=jnp.asarray(ids))
    image = Encoded(tokens=jnp.zeros((2, 3, E)), mask=jnp.ones((2, 3), bool))

    class Width:
        width = E

    params, _ = o.init(jax.random.key(0), {"nets": {"fusion": Width}}, {})
    value, _ = o.loss(params, {}, {"image": image, "text": text}, batch(), keys(2), {}, {"fusion": net})
    kernel, bias = (np.asarray(params[k]) for k in ("kernel", "bias"))
    assert seen["causal"] and o.views["text"].causal
    for i in range(2):
        losses = []
        for t in range(length - 1):
            if ids[i, t + 1]:
                z = fused[i, t] @ kernel + bias
                losses.append(np.log(np.exp(z).sum()) - z[ids[i, t + 1]])
        assert np.isclose(value[i], np.mean(losses), rtol=1e-5)


def test_matching_draws_by_similarity_never_from_the_own_group(rng):
    o = OBJECTIVES["matching"](after="clip")
    u = unit(rng)
    v = u.copy()  # own row is the most similar: it must still never be drawn
    group = jnp.array([0, 0, 1, 2, -1, -1])
    draws = {"hard_a": [], "hard_b": []}
    e = {"a": Encoded(embedding=jnp.asarray(u)), "b": Encoded(embedding=jnp.asarray(v))}
    data = batch(group=group, present={"text": jnp.array([1, 1, 1, 0, 1, 1], bool)})
    select = jax.jit(lambda k: o.select({"logit_scale": jnp.log(2.0)}, e, data, k, {"max_scale": 100.0}))
    for seed in range(400):
        k = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), jnp.arange(B))
        for name, rows in select(k).items():
            draws[name].append(np.asarray(rows))
    drawn = np.stack(draws["hard_b"])
    assert not (drawn == np.arange(B)).any() and not (drawn == 3).any()  # row 3 has no text
    assert not np.isin(drawn[:, 0], [1]).any() and not np.isin(drawn[:, 1], [0]).any()
    allowed = [2, 4, 5]
    p = np.exp(2 * u[0] @ v[allowed].T)
    p /= p.sum()
    seen = np.array([(drawn[:, 0] == j).mean() for j in allowed])
    assert np.abs(seen - p).max() < 4 * np.sqrt(0.25 / 400)


def test_matching_loss_is_binary_cross_entropy_over_three_pairs(rng):
    o = OBJECTIVES["matching"](after="clip")
    own = {m: unit(rng) for m in ("a", "b", "hard_a", "hard_b")}
    e = {m: Encoded(tokens=jnp.asarray(x)[:, None], mask=jnp.ones((B, 1), bool)) for m, x in own.items()}
    rows = {"hard_a": {"index": jnp.array([1, 2, 3, 4, 5, 5]), "valid": jnp.ones(B, bool)},
            "hard_b": {"index": jnp.array([1, 2, 3, 4, 5, 0]), "valid": jnp.ones(B, bool)}}
    params = {"kernel": jnp.asarray(rng.normal(size=(E, 2)), jnp.float32), "bias": jnp.zeros(2)}
    net = lambda x, m, c, cm: x * c  # noqa: E731
    value, _ = o.loss(params, {}, e, batch(rows=rows), keys(), {}, {"fusion": net})
    for i in range(B):
        total, pairs = 0.0, [("a", "b", 1), ("a", "hard_b", 0)] + ([("hard_a", "b", 0)] if i != 5 else [])
        for x, y, label in pairs:  # row 5 drew itself: no true negative, so that pair does not count
            z = (own[x][i] * own[y][i]) @ np.asarray(params["kernel"])
            total += np.log(np.exp(z).sum()) - z[label]
        assert np.isclose(value[i], total / len(pairs), rtol=1e-5)


def test_a_hard_text_is_near_the_image_and_a_hard_image_near_the_text():
    n = 6
    o = OBJECTIVES["matching"](after="clip")
    u = np.eye(n, dtype=np.float32)
    v = np.roll(u, 1, 0) + 0.5 * np.eye(n)  # image i is nearest to text i + 1, and so text j to image j - 1
    e = {"a": Encoded(embedding=jnp.asarray(u)), "b": Encoded(embedding=jnp.asarray(v, jnp.float32))}
    batch = {"index": jnp.arange(n), "valid": jnp.ones(n, bool), "present": {}}
    similar = np.where(np.eye(n), -np.inf, u @ v.T)
    for seed in range(3):
        rows = o.select({"logit_scale": jnp.log(100.0)}, e, batch, keys(n, seed), {"max_scale": 100.0})
        assert np.array_equal(rows["hard_b"], similar.argmax(1)) and np.array_equal(rows["hard_b"], (np.arange(n) + 1) % n)
        assert np.array_equal(rows["hard_a"], similar.argmax(0)) and np.array_equal(rows["hard_a"], (np.arange(n) - 1) % n)


@pytest.mark.parametrize("micro", [1, 2])
def test_a_labelled_row_without_its_image_has_no_say(rng, micro):
    label, present = np.array([0, 1, 2, -1, 1, -1]), np.array([1, 0, 1, 1, 1, 0], bool)
    valid = np.array([1, 1, 1, 1, 0, 1], bool)
    o = OBJECTIVES["supervised"](heads={"class": {"kind": "ce", "classes": 3}})
    batch = {"index": jnp.arange(6), "valid": jnp.asarray(valid), "present": {"image": jnp.asarray(present)},
             "label/class": jnp.asarray(label), "image": jnp.asarray(unit(rng, 6, 4))}
    assert np.array_equal(o.weight(batch, keys(6)), [1, 0, 1, 0, 0, 0])
    params = {"encoders": {}, "objectives": {"t": {"class": {"kernel": jnp.asarray(unit(rng, 4, 3)), "bias": jnp.ones(3)}}}, "nets": {}}
    loss = step.make_loss(lambda p, view, b, k: Encoded(pooled=b["image"]), {}, {"t": Term(o)}, micro)
    hp = {"terms": {"t": {"weight": jnp.float32(1)}}}
    value, slope = jax.jit(jax.value_and_grad(lambda x: loss(params, {}, {}, {"main": batch | {"image": x}}, jax.random.key(0), 0, hp)[0]))(
        batch["image"])
    logits = np.asarray(batch["image"] @ params["objectives"]["t"]["class"]["kernel"] + 1)
    assert np.isclose(value, np.mean([np.log(np.exp(logits[i]).sum()) - logits[i, label[i]] for i in (0, 2)]), rtol=1e-5)
    assert np.array_equal(np.abs(slope).max(1) > 0, [1, 0, 1, 0, 0, 0])
