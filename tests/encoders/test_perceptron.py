"""The plain perceptron: its layers, its starts, what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmrep.encoders.perceptron import Perceptron


def test_layers_are_matrices_and_activations_and_the_last_is_linear_unless_asked():
    x = jax.random.normal(jax.random.key(0), (4, 6))
    for last in (False, True):
        net = Perceptron((5, 3), "tanh", last=last)
        params = net.init(jax.random.key(1), x)["params"]
        out = net.apply({"params": params}, x)
        h = np.tanh(x @ params["layer00"]["kernel"] + params["layer00"]["bias"])
        y = h @ params["layer01"]["kernel"] + params["layer01"]["bias"]
        assert np.allclose(out.out["layer00"], h, atol=1e-6) and np.allclose(out.pooled, np.tanh(y) if last else y, atol=1e-5)
        assert out.tokens.shape == (4, 1, 3) and out.mask.all()


def test_starts_have_their_spread():
    x = jnp.zeros((1, 400))
    normal = Perceptron((400,), start="normal").init(jax.random.key(0), x)["params"]["layer00"]
    assert np.isclose(np.std(normal["kernel"]) * 20, 1, rtol=0.02) and np.isclose(np.std(normal["bias"]) * 20, 1, rtol=0.15)
    torch = Perceptron((400,), start="torch").init(jax.random.key(0), x)["params"]["layer00"]
    assert all(0.9 < np.abs(w).max() * 20 <= 1 for w in torch.values())
    decay = Perceptron((16, 16), start="decay", decay=0.35, bias=False).init(jax.random.key(0), jnp.zeros((1, 16)))["params"]
    assert np.allclose(np.linalg.svd(decay["layer01"]["kernel"], compute_uv=False), np.exp(-0.35 * np.arange(16)), rtol=1e-4)
    assert set(decay["layer00"]) == {"kernel"}


@pytest.mark.parametrize("kwargs, words", [({"activation": "relo"}, "did you mean 'relu'"), ({"start": "zeros"}, "must be one of"),
                                           ({"widths": ()}, "at least one width")])
def test_what_is_wrong_is_named(kwargs, words):
    with pytest.raises(ValueError, match=words):
        Perceptron(**kwargs).init(jax.random.key(0), jnp.zeros((1, 4)))
    with pytest.raises(ValueError, match="a vector"):
        Perceptron().init(jax.random.key(0), jnp.zeros((1, 4, 4)))
