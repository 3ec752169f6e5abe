"""Several runs in one compiled step: their states stacked, the step mapped over them. For accelerators, where many small steps leave the
device idle; on CPU one run after another was measured faster.

Each run keeps its own loop, folder, data and evaluations (`train.lane`); only the steps are done together.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmrep import config as cfg
from mmrep.core import sharding
from mmrep.shared import Shared
from mmrep.stop import Stop, Stopped
from mmrep.train import Step, lane, with_stop
from mmrep.workdir import locked

_stack = jax.jit(lambda *trees: jax.tree.map(lambda *x: jnp.stack(x), *trees))
_take = jax.jit(lambda tree, i: jax.tree.map(lambda x: x[i], tree))


class _Metrics(Mapping):
    """One run's share of the stacked metrics, fetched for all at once when the first is read."""

    def __init__(self, stacked: dict, number: int, fetched: dict):
        self._stacked, self._number, self._fetched = stacked, number, fetched

    def __getitem__(self, name: str) -> Any:
        if name == "go":  # stays on the device, stacked
            return None
        if not self._fetched:
            self._fetched |= jax.device_get({k: v for k, v in self._stacked.items() if k != "go"})
        return self._fetched[name][self._number]

    def __iter__(self) -> Iterator[str]:
        return iter(self._stacked)

    def __len__(self) -> int:
        return len(self._stacked)


def train_together(configs: list[Any], workdirs: list[Path], shared: Shared, say: list[Callable[[str], None]]
                   ) -> list[dict | Exception]:
    """Train runs that differ in traced values only as `train.train` would each, in one program; results, or what ended a run.

    A run that fails, or is shorter, leaves the others to go on. Raises ValueError where their programs differ or one has stages, Stopped
    after SIGTERM or SIGINT, when every run that had begun is saved.
    """
    if any(config.stages for config in configs):
        raise ValueError("config.stages: runs of several stages are not trained together")
    mesh = sharding.make_mesh(configs[0].mesh.data, configs[0].mesh.fsdp, configs[0].mesh.tensor)
    if mesh.size > 1:
        raise ValueError(f"runs are trained together on one device, not on {mesh.size}; give each worker one")
    ends: list[dict | Exception | None] = [None] * len(configs)
    with Stop(workdirs[0]) as stop, jax.set_mesh(mesh), ExitStack() as holding:  # loops close within the mesh
        for config, workdir in zip(configs, workdirs):
            cfg.check_keys(config)
            holding.enter_context(locked(workdir))
        lanes = [lane(c, w, shared, stop, s, figure=False) for c, w, s in zip(configs, workdirs, say)]
        for one in lanes:
            holding.callback(one.close)
        asked: list[Step | None] = [_next(one, None, ends, i) for i, one in enumerate(lanes)]
        if len({step.run.program for step in asked if step}) > 1:
            raise ValueError("runs that are trained together must share a program: their configs differ in more than traced values")
        _advance(lanes, asked, ends, shared)
    for end in ends:
        if isinstance(end, Stopped):  # each has seen the signal and saved its state
            raise end
    return ends


def _next(one: Any, done: tuple | None, ends: list, number: int) -> Step | None:
    """Let a run's loop go on to its next step; None where it has ended, well or not, which `ends` then says."""
    try:
        return one.send(done)
    except StopIteration as end:
        ends[number] = end.value
    except (Exception, Stopped) as error:
        ends[number] = error
    return None


def _advance(lanes: list, asked: list[Step | None], ends: list, shared: Shared) -> None:
    """Steps of all runs until the last has ended. One that has keeps its place in the stack, with its last batch, and learns no more."""
    here = [i for i, step in enumerate(asked) if step]
    if not here:
        return
    run = asked[here[0]].run
    last = {i: asked[i].args for i in here}
    state, hp = (_stack(*(last[i][k] for i in here)) for k in (0, 2))
    go, width = jnp.ones(len(here), bool), len(here)
    while any(asked[i] for i in here):
        last |= {i: asked[i].args for i in here if asked[i]}
        inputs, wish = (_stack(*(last[i][k] for i in here)) for k in (1, 4))
        go = go & np.array([asked[i] is not None for i in here])
        key = "together", (run.program, width)
        if key not in shared:
            shared[key] = jax.jit(jax.vmap(with_stop(run.step)), donate_argnums=0).lower(state, inputs, hp, go, wish).compile()
        state, metrics = shared[key](state, inputs, hp, go, wish)
        go, fetched = metrics["go"], {}
        for place, i in enumerate(here):
            if asked[i]:
                held = lambda state=state, place=place: _take(state, place)  # noqa: E731
                asked[i] = _next(lanes[i], (held, _Metrics(metrics, place, fetched)), ends, i)
