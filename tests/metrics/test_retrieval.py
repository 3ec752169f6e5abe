"""Retrieval against exhaustive tie breaking, chance of constant encoders, duplicates and ceilings."""

from itertools import permutations

import numpy as np
import pytest

from mmrep.metrics import retrieval as ret


def _exhaustive(scores: np.ndarray, positive: np.ndarray, k: int) -> tuple[float, float, float]:
    """(P(hit at k), E rank, E 1/rank) of the best positive of one query over all orders of the gallery's ties."""
    ranks = []
    for order in permutations(range(len(scores))):
        ranked = sorted(order, key=lambda j: -scores[j])  # stable: the permutation breaks ties
        ranks.append(1 + min(ranked.index(j) for j in np.flatnonzero(positive)))
    ranks = np.array(ranks)
    return (ranks <= k).mean(), ranks.mean(), (1 / ranks).mean()


def test_group_and_instance_equal_exhaustive_tie_breaking():
    rng = np.random.default_rng(0)
    for _ in range(12):
        scores = rng.integers(0, 3, (1, 6)).astype(float)
        group = rng.integers(0, 3, 6)
        query = group[:1]
        found = ret.ranks(scores, (query, group))
        single = ret.ranks(scores, np.array([0]))
        for k in (1, 2, 4, 6):
            expected = _exhaustive(scores[0], group == query, k)
            assert ret.hits(found, k)[0] == pytest.approx(expected[0], abs=1e-12)
            assert ret.expected_rank(found)[0] == pytest.approx(expected[1])
            assert ret.reciprocal_rank(found)[0] == pytest.approx(expected[2])
            expected = _exhaustive(scores[0], np.arange(6) == 0, k)
            assert ret.hits(single, k)[0] == pytest.approx(expected[0], abs=1e-12)
            assert ret.expected_rank(single)[0] == pytest.approx(expected[1])
            assert ret.reciprocal_rank(single)[0] == pytest.approx(expected[2])


def test_a_constant_encoder_scores_exactly_chance():
    rng = np.random.default_rng(0)
    n = 300
    group = rng.integers(0, 90, n)
    x = np.tile(rng.normal(size=(1, 16)).astype(np.float32), (n, 1))
    values, per_query = ret.retrieval(x, x + np.float32(1e-9), group, ks=(1, 5, 10), chunk=64)
    multiplicity = np.bincount(group)[group]
    for k in (1, 5, 10):
        assert values[f"R@{k}/instance"] == pytest.approx(k / n, abs=1e-15)
        miss = np.prod([(n - multiplicity - i) / (n - i) for i in range(k)], axis=0)
        assert values[f"R@{k}/group"] == pytest.approx((1 - miss).mean(), rel=1e-9)
        assert ret.chance(group, k) == pytest.approx((1 - miss).mean(), rel=1e-9)
    assert values["median_rank/instance"] == (n + 1) / 2
    assert values["MRR/instance"] == pytest.approx((1 / np.arange(1, n + 1)).mean())
    assert np.allclose(per_query["rank/group"], (n + 1) / (multiplicity + 1))


def test_a_perfect_encoder_with_duplicates_reaches_the_ceiling_in_both_directions():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(40), rng.integers(1, 6, 40))
    rng.shuffle(group)
    text = rng.normal(size=(40, 32)).astype(np.float32)[group]
    # Images of one text differ, their texts do not.
    image = text + 0.001 * rng.normal(size=text.shape).astype(np.float32)
    for query, gallery in ((image, text), (text, image)):
        values, _ = ret.retrieval(query, gallery, group, ks=(1, 2, 5))
        for k in (1, 2, 5):
            multiplicity = np.bincount(group)[group]
            assert values[f"ceiling@{k}/instance"] == pytest.approx(np.mean(np.minimum(k, multiplicity) / multiplicity))
            # Exact one way (duplicated texts tie); the other way image order is arbitrary but at most k partners fit.
            assert values[f"R@{k}/instance"] == pytest.approx(values[f"ceiling@{k}/instance"], abs=1e-12)
            assert values[f"R@{k}/group"] == 1.0


def test_duplicates_tie_in_spite_of_rounding():
    """Equal texts embedded at different batch positions differ in the last f32 bits; order must not decide."""
    rng = np.random.default_rng(1)
    n, d = 64, 48
    text = np.repeat(rng.normal(size=(n // 4, d)), 4, axis=0)
    text = text.astype(np.float32) * (1 + 1e-7 * rng.normal(size=(n, d)).astype(np.float32))
    image = text + 0.3 * rng.normal(size=(n, d)).astype(np.float32)
    found = ret.ranks((image, text))
    assert (found.tied == 4).all()
    for similarity in (image @ text.T, (image @ text.T).astype(np.float64)):  # raw f32 inner products, not cosines
        assert (ret.ranks(similarity).tied >= 4).all()
    # Bitwise duplicates, with the matrix product blocked differently.
    text[1::2] = text[0::2]
    for chunk in (1, 3, 64):
        assert (ret.ranks((image, text), chunk=chunk).tied % 2 == 0).all()


def test_chunks_similarity_matrix_and_labels_agree():
    rng = np.random.default_rng(0)
    query, gallery = rng.normal(size=(50, 8)), rng.normal(size=(80, 8))
    partner = rng.permutation(80)[:50]
    names = np.array([f"report-{i}" for i in range(80)])
    unit = lambda z: z / np.linalg.norm(z, axis=1, keepdims=True)  # noqa: E731
    whole = ret.ranks(unit(query) @ unit(gallery).T, partner)
    naive = [sum(float(q @ g) > float(q @ unit(gallery)[j]) + 1e-6 for g in unit(gallery))
             for q, j in zip(unit(query), partner)]
    assert whole.above.tolist() == naive
    for found in (ret.ranks((query, gallery), partner, chunk=7), ret.ranks((query, gallery), (names[partner], names))):
        assert all((a == b).all() for a, b in zip(found, whole))
    values, _ = ret.retrieval(query, gallery, partner=partner)
    assert values["R@5/instance"] == values["R@5/group"] and values["ceiling@1/instance"] == 1.0


def test_errors_name_the_row():
    x = np.eye(4)
    with pytest.raises(ValueError, match="query 2 has its partner at 9"):
        ret.ranks((x, x), np.array([0, 1, 9, 3]))
    with pytest.raises(ValueError, match="query 1 has no item of its group"):
        ret.ranks((x, x), (np.array([0, 7, 0, 0]), np.zeros(4)))
    with pytest.raises(ValueError, match="row 3 is not finite"):
        ret.ranks((x, np.diag([1, 1, 1, np.nan])))
    with pytest.raises(ValueError, match="outside the gallery of 3"):
        ret.ranks((x, x[:3]))


@pytest.mark.slow
def test_twenty_thousand_queries_fit():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20_000, 64)).astype(np.float32)
    values, _ = ret.retrieval(x, x + rng.normal(size=x.shape).astype(np.float32), np.arange(20_000) // 2)
    assert 0.5 < values["R@1/instance"] <= values["R@1/group"] <= 1
