"""Several hosts: start `jax.distributed` where the environment or the flags say so, and keep them together."""

import os
from collections.abc import Callable, Mapping
from typing import Any


def detected(env: Mapping[str, str]) -> bool:
    """Whether the environment is that of one of several tasks: of a SLURM step (srun) or of a TPU pod.

    SLURM_NTASKS alone says nothing: it is set in every sbatch and salloc shell, where this is the only process.
    """
    step = "SLURM_PROCID" in env and "SLURM_STEP_ID" in env and int(env.get("SLURM_STEP_NUM_TASKS", 1)) > 1
    return step or len(env.get("TPU_WORKER_HOSTNAMES", "").split(",")) > 1


def start(coordinator: str = "", hosts: int = 0, host: int = 0) -> None:
    """Join the other processes; nothing on a single host.

    Flags win; SLURM steps and TPU pods are detected. Raises ValueError for flags that do not fit.
    """
    import jax

    if coordinator or hosts:
        if not coordinator or hosts < 1 or not 0 <= host < hosts:
            raise ValueError(f"--coordinator {coordinator!r} --hosts {hosts} --host {host}: give all three, "
                             "with 0 <= host < hosts")
        jax.distributed.initialize(coordinator, hosts, host)
    elif detected(os.environ):
        jax.distributed.initialize()


def first() -> bool:
    """Whether this process is host 0: the one that writes files and speaks."""
    import jax

    return jax.process_index() == 0


def first_then_others(fn: Callable[[], Any]) -> Any:
    """fn() on host 0, then on the others, who read what it wrote; a plain call on a single host.

    An error of one host ends all of them: it is raised where it happened, and as a ValueError on every other.
    """
    import jax

    if jax.process_count() == 1:
        return fn()
    value, error, failed = None, None, []
    for turn in (True, False):
        if first() is turn and not failed:
            try:
                value = fn()
            except Exception as caught:
                error = caught
        failed = _failed(error is not None)
        if error is not None:
            raise error
        if failed:
            raise ValueError(f"host {failed[0]} could not start; its own output says why")
    return value


def total(counts: dict[str, int]) -> dict[str, int]:
    """Each count, summed over the hosts; every host must call it, with the same names."""
    import jax

    if jax.process_count() == 1:
        return counts
    import numpy as np
    from jax.experimental import multihost_utils

    names = sorted(counts)
    summed = multihost_utils.process_allgather(np.array([counts[n] for n in names])).reshape(-1, len(names)).sum(0)
    return dict(zip(names, summed.tolist()))


def _failed(here: bool) -> list[int]:
    """The hosts that say True; every host must call it."""
    import numpy as np
    from jax.experimental import multihost_utils

    return np.flatnonzero(multihost_utils.process_allgather(np.array(here))).tolist()
