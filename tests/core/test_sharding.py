"""Where arrays live: rows, leaves, and functions over row shards."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from mmrep.core import rows, sharding


def test_leaves_take_the_wanted_axes_then_fsdp_on_the_largest_free_one():
    mesh = sharding.make_mesh(2, 2, 2)
    assert sharding.leaf_spec((6, 8), mesh, (None, "tensor"), 0) == P("fsdp", "tensor")
    assert sharding.leaf_spec((6, 8), mesh, None, 0) == P(None, "fsdp")
    assert sharding.leaf_spec((3, 6, 8), mesh, ("tensor", None), 0) == P(None, "tensor", "fsdp")  # aligned to the last axes
    assert sharding.leaf_spec((6, 7), mesh, (None, "tensor"), 0) == P("fsdp", None)  # 7 does not divide
    assert sharding.leaf_spec((6, 8), mesh, (None, "tensor"), 100) == P(None, "tensor")  # too small for fsdp


@pytest.mark.parametrize("shape", [(8, 1, 1), (2, 2, 2)])
def test_split_and_merge_are_inverse_and_collectives_equal_their_dense_forms(shape):
    x = jnp.arange(32.0).reshape(16, 2)
    with jax.set_mesh(sharding.make_mesh(*shape)):
        axes, shards = sharding.row_axes(), sharding.shard_count(sharding.row_axes())
        assert np.array_equal(jax.jit(lambda a: sharding.merge_rows(sharding.split_rows(a, 2)))(x), x)

        def local(a):
            whole = rows.gather(a, axes)
            around = a
            for _ in range(shards):
                around = rows.rotate(around, axes)
            return rows.total(a.sum(), axes), rows.scatter_sum(whole, axes), rows.own(whole, axes), around

        total, summed, own, around = jax.jit(lambda a: sharding.map_rows(local, (a,), (True,), (False, True, True, True)))(x)
        assert total == x.sum() and np.array_equal(summed, shards * x)
        assert np.array_equal(own, x) and np.array_equal(around, x)
        with pytest.raises(ValueError, match="9 rows, not a multiple of the"):
            sharding.map_rows(local, (x[:9],), (True,), False)


def test_meshes_must_fit_the_devices():
    for sizes, message in (((-1, 3, 1), "does not divide 8 devices"), ((2, 2, 1), "is not the number of devices"),
                           ((-1, 0, 1), "does not divide")):
        with pytest.raises(ValueError, match="config.mesh: .*" + message):
            sharding.make_mesh(*sizes)
