"""mmrep: how medical modalities align, as pure functions over sharded JAX."""

__version__ = "0.1.0"


def load(workdir, step=None):
    """(model, params, config) of a run; see `mmrep.opened.load`."""
    from mmrep.opened import load

    return load(workdir, step)
