"""Checkpoints: what is kept, what is whole, what may be taken over."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmrep.core import checkpoint
from mmrep.core.types import TrainState


def state(step, seed=0, size=300):
    import optax

    params = {"encoders": {"a": {"kernel": jax.random.normal(jax.random.key(seed), (size,))}}, "objectives": {}}
    return TrainState(jnp.asarray(step, jnp.int32), params, optax.adam(1e-3).init(params), {}, {"m": {"queue": jnp.ones(3)}},
                      jax.random.key(seed))


def abstract(of):
    one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    shapes = jax.eval_shape(lambda: of)
    return shapes, jax.tree.map(lambda _: one, shapes)


@pytest.mark.parametrize("mode,scores,kept,best", [
    ("max", {1: 0.1, 2: 0.9, 3: float("nan"), 4: 0.9, 5: 0.3}, [2, 4, 5], 2),
    ("min", {1: 0.1, 2: 0.9, 3: float("nan"), 4: 0.1, 5: 0.3}, [1, 4, 5], 1)])
def test_keeps_the_best_and_the_newest(tmp_path, mode, scores, kept, best):
    manager = checkpoint.open_folder(tmp_path / "checkpoints", 2, "m", mode)
    for step, score in scores.items():
        checkpoint.save(manager, state(step, step), {"m": score})
    checkpoint.close(manager)
    assert checkpoint.steps_of(tmp_path) == kept
    found = checkpoint.read_params(tmp_path, metric="m", mode=mode)
    assert found["step"] == best
    np.testing.assert_array_equal(found["params"]["encoders"]["a"]["kernel"], state(0, best).params["encoders"]["a"]["kernel"])


def test_checkpoints_out_of_schedule_last_until_the_next(tmp_path):
    manager = checkpoint.open_folder(tmp_path / "checkpoints", 2, scheduled=lambda step: step % 3 == 0)
    for step in (3, 5, 6, 7):
        checkpoint.save(manager, state(step))
    checkpoint.wait(manager)
    assert checkpoint.steps_of(tmp_path) == [3, 6, 7]
    checkpoint.save(manager, state(9))
    checkpoint.close(manager)
    assert checkpoint.steps_of(tmp_path) == [6, 9]


def test_restore_is_bitwise_and_names_what_differs(tmp_path):
    manager = checkpoint.open_folder(tmp_path / "checkpoints")
    old = state(3, 7)
    checkpoint.save(manager, old)
    checkpoint.close(manager)
    manager = checkpoint.open_folder(tmp_path / "checkpoints")
    new = checkpoint.restore(manager, 3, *abstract(old))
    assert jax.tree.structure(new) == jax.tree.structure(old)
    for a, b in zip(jax.tree.leaves(new._replace(rng=jax.random.key_data(new.rng))),
                    jax.tree.leaves(old._replace(rng=jax.random.key_data(old.rng)))):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match=r"of another model: leaf opt/\S+/a/kernel is \(300,\) there and \(5,\) here"):
        checkpoint.restore(manager, 3, *abstract(state(3, size=5)))
    other = old._replace(params=old.params | {"nets": {"f": jnp.ones(2)}})
    with pytest.raises(ValueError, match="leaf params/nets/f is missing from it"):
        checkpoint.restore(manager, 3, *abstract(other))
    for file in (tmp_path / "checkpoints" / "3" / "default").rglob("*"):
        if file.is_file() and file.parent.name == "d":
            file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(ValueError, match="checkpoints/3: is damaged or incomplete .* move that folder away"):
        checkpoint.restore(manager, 3, *abstract(old))


def test_a_half_written_checkpoint_is_none(tmp_path):
    manager = checkpoint.open_folder(tmp_path / "checkpoints")
    checkpoint.save(manager, state(1))
    checkpoint.close(manager)
    half = tmp_path / "checkpoints" / "2.orbax-checkpoint-tmp-17"
    half.mkdir()
    (half / "_METADATA").write_text("{}")
    assert checkpoint.steps_of(tmp_path) == [1] and checkpoint.read_params(tmp_path)["step"] == 1
    manager = checkpoint.open_folder(tmp_path / "checkpoints")
    assert checkpoint.latest(manager) == 1 and not half.exists()
    with pytest.raises(FileNotFoundError, match="no checkpoint of step 2; there are"):
        checkpoint.read_params(tmp_path, 2)
    with pytest.raises(FileNotFoundError, match="holds no finished checkpoint"):
        checkpoint.read_params(tmp_path / "nothing")


def test_fit_reports_and_refuses():
    mine = {"encoders": {"image": {"w": np.zeros(3), "b": np.zeros(2)}, "text": {"w": np.zeros(3)}}}
    theirs = {"encoders": {"vision": {"w": np.ones(3), "b": np.ones(4)}}}
    loaded, report = checkpoint.fit(mine, theirs, r".*/w", {"encoders/vision": "encoders/image"})
    assert list(loaded) == ["encoders/image/w"]
    assert report == {"loaded": ["encoders/image/w"], "missing": ["encoders/text/w"], "unexpected": [],
                      "left out": ["encoders/image/b"]}
    for kwargs, message in ((dict(rename={"encoders/vision": "encoders/image"}), "leaf encoders/image/b is"),
                            (dict(only="encoder/.*"), "config.init.only: .* matches no leaf"),
                            (dict(rename={"vision": "image"}), "config.init.rename: .* matches no leaf"),
                            (dict(rename={"encoders/vision/.": "encoders/image/w"}), "gives two leaves the name"),
                            (dict(), "no leaf fits; missing e.g. .*it holds e.g. encoders/vision")):
        with pytest.raises(ValueError, match=message):
            checkpoint.fit(mine, theirs, **kwargs)


def test_a_full_disk_is_an_oserror(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise ValueError('RESOURCE_EXHAUSTED: Error writing "params": Failed to write 9 bytes: No space left on device '
                         "[os_error_code='28']")

    manager = checkpoint.open_folder(tmp_path / "checkpoints")
    monkeypatch.setattr(manager.orbax, "save", refuse)
    with pytest.raises(OSError) as caught:
        checkpoint.save(manager, state(1))
    assert caught.value.errno == 28 and caught.value.filename == str(manager.folder)
