"""Fine-tune a pre-trained image encoder on labels, with a head a label; all of it or in part, on a share of the labels.

  mmrep train configs/finetune.py:fraction=0.01 --workdir runs/ft --config.init.path=runs/quickstart
  mmrep train configs/finetune.py:frozen=2 ...           the embedding and the first two blocks stay as they are
  mmrep train configs/finetune.py:frozen=-1 ...          all of the encoder does: a linear probe, by gradient
  mmrep train configs/finetune.py:tfds=pneumoniamnist,data_dir=data,label=label ...   a set that `mmrep data build` wrote, at `size` pixels

Without `init.path` the same network starts from its seed: the comparison. The encoder is that of configs/quickstart.py and must
be the other run's; a table of your own comes by flags, as in configs/clip_manifest.py:

  --config.data.main.source="{'name': 'manifest', 'path': 'my.csv', 'columns': {'image': 'file', 'label': {'finding': 'dx'}}}"
  --config.objectives.classify.heads="{'finding': {'kind': 'ce', 'classes': 3}}" --config.save.metric=val/supervised/finding/auroc
"""

import base
import quickstart

from mmrep.config import parse_arg


def get_config(arg: str = ""):
    a = parse_arg(arg, smoke=False, size=32, fraction=1.0, frozen=0, tfds="", data_dir="", label="")
    c, other = base.get_config(), quickstart.get_config(f"size={a.size}" + (",smoke" if a.smoke else ""))
    c.total = "4 steps" if a.smoke else "300 steps"
    c.encoders = {"image": other.encoders.image}
    c.inputs = other.inputs
    c.head.kind = "none"  # the projection to the other modality is not needed
    c.init.only = "encoders/image/trunk/.*"
    c.objectives = {"classify": {"name": "supervised", "heads": {"findings": {"kind": "bce", "classes": 6},
                                                                "class": {"kind": "ce", "classes": 10}}}}
    c.data = {"main": {"source": {"name": "phantom", "size": a.size, "modalities": ("image",)}, "cache_mib": 512,
                       "batch": 8 if a.smoke else 64, "fraction": a.fraction}}
    if a.tfds:
        prepared(c, a)
    elif a.smoke:
        c.data.main.source.n = 128
    if a.frozen:
        blocks = ".*" if a.frozen < 0 else f"(embed|positions|stack/block({'|'.join(f'{i:02d}' for i in range(a.frozen))}))/?.*"
        c.rules += ({"match": f"encoders/image/trunk/{blocks}", "freeze": True},)
    c.optim.lr = 5e-4
    c.optim.wd = 0.05
    c.optim.warmup = "10%"
    c.evals = {"supervised": {"name": "supervised"}}
    c.eval.every = "25%"  # the best on validation is what test reads
    c.eval.controls = ("untrained",)
    c.save.metric = f"val/supervised/{next(iter(c.objectives.classify.heads))}/auroc"
    return c


def prepared(c, a):
    """A TFDS data set in the phantom's place: its pictures, one label (by default the set's first) and its cases."""
    from mmrep.data.builders import DATASETS
    from mmrep.data.tfds import tfds

    ours = DATASETS[a.tfds].columns if a.tfds in DATASETS else {}
    name, column = (a.label, a.label) if a.label else next(iter(ours.get("label", {"label": "label"}).items()))
    columns = {"image": ours.get("image", "image"), "label": {name: column}} | ({"case": ours["case"]} if "case" in ours else {})
    c.data.main.source = {"name": "tfds", "dataset": a.tfds, "data_dir": a.data_dir or None, "columns": columns}
    c.data.main.prepare = ({"name": "resize", "size": a.size},)
    source = tfds(a.tfds, "train", a.data_dir or None, columns)
    if name not in source.label_names:
        raise ValueError(f"configs/finetune.py: label {name!r} of {a.tfds} has no named classes or findings; choose one by label=")
    vector = source[0][f"label/{name}"].ndim > 0
    c.objectives.classify.heads = {name: {"kind": "bce" if vector else "ce", "classes": len(source.label_names[name])}}
