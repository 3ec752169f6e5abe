"""Axes: grids, names, products, random draws, and what is refused."""

import numpy as np
import pytest

from mmrep.sweeps import Point, fixed, grid, log_uniform, named, product, sample, uniform


def test_product_of_axes_is_every_combination_with_its_labels():
    loss = named("loss", softmax={"objectives.clip.name": "contrastive"}, sigmoid={"objectives.clip.name": "sigmoid", "optim.lr": 2e-3})
    points = product(loss, grid({"data.main.batch": (8, 16)}), fixed({"total": "10 steps"}))
    assert len(points) == 4 and points[3] == Point(
        {"loss": "sigmoid", "data.main.batch": 16},
        {"objectives.clip.name": "sigmoid", "optim.lr": 2e-3, "data.main.batch": 16, "total": "10 steps"})


@pytest.mark.parametrize("make, words", [
    (lambda: grid({"optim.lr": ()}), "optim.lr: has no values"), (lambda: grid({"optim.lr": "12"}), "is no list"),
    (lambda: named("loss"), "has no values"), (lambda: product(grid({"a": (1,)}), []), "no points"),
    (lambda: product(grid({"a": (1,)}), grid({"a": (2,)})), "a is set by two"), (lambda: sample({"a": (1, 2)}, 0), "empty sweep"),
    (lambda: product(fixed({"lr": 1}), [{"a": 1}, {"a": 2, "lr": 5}]), "lr is set by two"), (lambda: grid({"a": iter(())}), "no values"),
    (lambda: product([3]), "is no point"), (lambda: log_uniform(0, 1), "0 < low < high")])
def test_empty_and_doubled_axes_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_random_points_do_not_depend_on_each_other():
    few, many = (sample({"lr": log_uniform(1e-5, 1e-1), "loss": ("a", "b")}, n, seed=3) for n in (3, 300))
    alone = sample({"lr": log_uniform(1e-5, 1e-1)}, 3, seed=3)
    assert few == many[:3] and [p.changes["lr"] for p in alone] == [p.changes["lr"] for p in few]
    logs = np.log10([p.changes["lr"] for p in many])
    assert -5 <= logs.min() and logs.max() < -1 and abs(logs.mean() + 3) < 3 * (4 / 12**0.5) / 300**0.5
    assert abs(np.mean([p.changes["loss"] == "a" for p in many]) - 0.5) < 0.09
    twins = sample({"objectives.clip.weight": uniform(0, 1), "objectives.mim.weight": uniform(0, 1)}, 20)
    assert len({p.changes["objectives.clip.weight"] - p.changes["objectives.mim.weight"] for p in twins}) == 20  # names that end alike
    assert len(sample({"loss": ("a", "b")}, 50)) == 2  # each setting once
    assert len(grid({"lr": iter((1, 2))})) == 2
