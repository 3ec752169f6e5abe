"""What every objective needs of the config: its views, its shared net, its fields of the batch."""

from collections.abc import Iterable

from mmrep.core.names import nearest, within
from mmrep.core.types import Net, View


def as_view(spec: str | dict | View) -> View:
    """A View from a modality name or a dict of View fields. Raises ValueError for another field."""
    if isinstance(spec, View):
        return spec
    spec = {"modality": spec} if isinstance(spec, str) else dict(spec)
    for key in spec:
        if key not in View._fields:
            raise ValueError(f"a view has no {key!r}; {nearest(key, View._fields)}")
    if spec.get("mask") is not None:
        within("mask of a view", spec["mask"], 0, 1, high_open=True)
    if "modality" not in spec:
        raise ValueError(f"view {spec} needs `modality`")
    return View(**spec)


def shared_net(shapes: dict, name: str) -> Net:
    """The net `name` of `config.nets`, in an objective's init. Raises ValueError where there is none."""
    nets = shapes["nets"]
    if name not in nets:
        raise ValueError(f"net: config.nets has no {name!r}, set e.g. config.nets.{name} = {{'name': 'cross_attention'}}; "
                         f"{nearest(name, nets)}")
    return nets[name]


def need(batch: Iterable[str], field: str) -> None:
    """Raise ValueError where the data give no such field of the batch."""
    if field not in batch:
        raise ValueError(f"the data have no {field!r}; {nearest(field, batch)}")
