"""Meshes and placements: the one file that names Mesh, NamedSharding and shard_map.

Axes: `data` (rows), `fsdp` (rows and params), `tensor` (params). Rows of every batch are split over data x fsdp.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from mmrep.core import tree

AXES = ("data", "fsdp", "tensor")
ROWS = ("data", "fsdp")


def make_mesh(data: int = -1, fsdp: int = 1, tensor: int = 1, devices: list | None = None) -> Mesh:
    """A (data, fsdp, tensor) mesh; data=-1 takes what is left. Raises ValueError if the sizes do not fit."""
    devices = jax.devices() if devices is None else devices
    if fsdp < 1 or tensor < 1 or len(devices) % (fsdp * tensor):
        raise ValueError(f"config.mesh: fsdp {fsdp} x tensor {tensor} does not divide {len(devices)} devices")
    data = len(devices) // (fsdp * tensor) if data == -1 else data
    if data * fsdp * tensor != len(devices):
        raise ValueError(f"config.mesh: {data} x {fsdp} x {tensor} is not the number of devices, {len(devices)}")
    return Mesh(np.array(devices).reshape(data, fsdp, tensor), AXES, axis_types=(AxisType.Auto,) * 3)


def row_shards(mesh: Mesh) -> int:
    """Over how many devices the rows of a batch are split."""
    return mesh.shape["data"] * mesh.shape["fsdp"]


def context_mesh() -> Any | None:
    """The mesh of the surrounding `jax.set_mesh`, or None where there is none or only one device."""
    mesh = jax.sharding.get_abstract_mesh()
    return None if mesh.empty or mesh.size == 1 else mesh


def constrain(x: Any, *spec: Any) -> Any:
    """Constrain arrays' leading axes, e.g. `constrain(x, None, ROWS)`; nothing without a mesh."""
    if context_mesh() is None:
        return x
    return jax.tree.map(lambda a: jax.lax.with_sharding_constraint(a, PartitionSpec(*spec)), x)


def split_rows(x: Any, parts: int) -> Any:
    """[B, ...] -> [parts, B/parts, ...], each part spread over all devices.

    The strided split keeps every device's own rows; `reshape(parts, -1)` would replicate the work on all of them.
    """
    y = jax.tree.map(lambda a: a.reshape(-1, parts, *a.shape[1:]).swapaxes(0, 1), x)
    return constrain(y, None, ROWS)


def merge_rows(x: Any) -> Any:
    """The inverse of `split_rows`."""
    y = jax.tree.map(lambda a: a.swapaxes(0, 1).reshape(-1, *a.shape[2:]), x)
    return constrain(y, ROWS)


def leaf_spec(shape: tuple[int, ...], mesh: Mesh, wanted: tuple | None, min_size: int) -> PartitionSpec:
    """Where a leaf lives: `wanted` (aligned to its last axes) first, then its largest free axis over fsdp.

    An axis that a mesh axis does not divide stays whole. Leaves below `min_size` entries are not split over fsdp.
    """
    spec: list = [None] * len(shape)
    for axis, name in zip(range(len(shape))[::-1], reversed(wanted or ())):
        if name is not None and shape[axis] % mesh.shape[name] == 0:
            spec[axis] = name
    fsdp = mesh.shape["fsdp"]
    free = [a for a in range(len(shape)) if spec[a] is None and shape[a] % fsdp == 0]
    if fsdp > 1 and free and "fsdp" not in spec and np.prod(shape) >= min_size:
        spec[max(free, key=lambda a: shape[a])] = "fsdp"
    return PartitionSpec(*spec)


def state_shardings(mesh: Mesh, state: Any, wanted: dict[str, tuple], min_size: int = 2**20) -> Any:
    """NamedShardings for a TrainState of ShapeDtypeStructs.

    wanted: {param path: spec}. Optimizer moments and EMA copies follow the param whose path theirs ends with.
    """
    known = {p: leaf.shape for p, leaf in zip(tree.paths(state.params), jax.tree.leaves(state.params))}

    def place(path: str, leaf: Any) -> NamedSharding:
        parts = path.split("/")
        tails = ("/".join(parts[i:]) for i in range(len(parts)))
        owner = next((t for t in tails if known.get(t) == leaf.shape), None)
        if owner is None:
            return NamedSharding(mesh, PartitionSpec())
        return NamedSharding(mesh, leaf_spec(leaf.shape, mesh, wanted.get(owner), min_size))

    return tree.map_named(place, state)


def replicated(mesh: Mesh) -> NamedSharding:
    """The placement of what every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def put_batch(mesh: Mesh, batch: Any) -> Any:
    """This host's rows (numpy) to global arrays split over the rows' axes."""
    placement = NamedSharding(mesh, PartitionSpec(ROWS))
    if jax.process_count() == 1:  # one call for all leaves: a fourth of the time, which small models wait for
        return jax.device_put(batch, placement)
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(placement, np.asarray(x)), batch)


def row_axes() -> tuple[str, ...]:
    """Axes of the mesh in context over which rows are split: those of `ROWS` longer than one, may be ()."""
    mesh = jax.sharding.get_abstract_mesh()
    return tuple(name for name in ROWS if not mesh.empty and mesh.shape.get(name, 1) > 1)


def map_rows(fn: Callable, args: Sequence[Any], split: Sequence[bool], out: Any) -> Any:
    """Calls `fn(*args)` once per row shard, under `jax.shard_map` over the whole mesh of `jax.set_mesh`.

    Without a mesh, or with one row shard, a plain call.

    Args:
        fn: the per-shard function; collectives over `row_axes()` are allowed inside.
        args: pytrees of arrays. `split[i]` says whether the leading axis of every leaf of `args[i]` is sharded over the
            rows (True) or the leaf is replicated (False).
        out: pytree prefix of booleans for the outputs, in the same sense.
    Raises:
        ValueError: a split leaf's leading size is not a multiple of the number of row shards.
    """
    axes = row_axes()
    if not axes:
        return fn(*args)
    shards = shard_count(axes)
    for arg, is_split in zip(args, split, strict=True):
        for path, leaf in jax.tree_util.tree_leaves_with_path(arg) if is_split else ():
            if leaf.shape[0] % shards:
                raise ValueError(f"rows{jax.tree_util.keystr(path)} has {leaf.shape[0]} rows, not a multiple of the "
                                 f"{shards} shards of mesh axes {axes}: pad the batch with absent rows")
    spec = lambda is_split: PartitionSpec(axes) if is_split else PartitionSpec()  # noqa: E731
    # check_vma off: outputs are replicated over the other axes by construction, which its type system cannot see.
    sharded = jax.shard_map(fn, in_specs=tuple(map(spec, split)), out_specs=jax.tree.map(spec, out), check_vma=False)
    return sharded(*args)


def shard_count(axes: tuple[str, ...]) -> int:
    """Number of row shards of the mesh in context over `axes` (1 for no axes)."""
    count = 1
    for name in axes:
        count *= jax.sharding.get_abstract_mesh().shape[name]
    return count
