"""Several hosts: start `jax.distributed` where the environment or the flags say so."""

import os


def start(coordinator: str = "", hosts: int = 0, host: int = 0) -> None:
    """Join the other processes; nothing on a single host.

    Flags win; SLURM (more than one task) and TPU pods are detected. Raises ValueError for flags that do not fit.
    """
    import jax

    if coordinator or hosts:
        if not coordinator or hosts < 1 or not 0 <= host < hosts:
            raise ValueError(f"--coordinator {coordinator!r} --hosts {hosts} --host {host}: give all three, "
                             "with 0 <= host < hosts")
        jax.distributed.initialize(coordinator, hosts, host)
    elif int(os.environ.get("SLURM_NTASKS", 1)) > 1 or len(os.environ.get("TPU_WORKER_HOSTNAMES", "").split(",")) > 1:
        jax.distributed.initialize()


def first() -> bool:
    """Whether this process is host 0: the one that writes files and speaks."""
    import jax

    return jax.process_index() == 0


def barrier(name: str) -> None:
    """Wait until every host is here; nothing on a single one."""
    import jax

    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)
