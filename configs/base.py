"""Defaults of every config: `c = base.get_config()`, then set what differs. Sizes are given by the config's file.

Durations are strings: "600 steps", "20 epochs", "1e6 examples" or "5%" (of the run). An epoch is as many whole batches as the rows
give; what is left over is left out, other rows each time.
A thing that is built is a dict {name, **kwargs}; the names are the keys of the plain dictionaries ENCODERS, NETS,
OBJECTIVES, SOURCES, TRANSFORMS and EVALS in the package.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    c = ml_collections.ConfigDict()
    c.seed = 0
    c.total = "600 steps"
    c.micro = 1                # micro-batches of a step; the result does not depend on it
    # devices along each axis (-1: all that are left); leaves with fewer than min_shard entries are not split over fsdp
    c.mesh = {"data": -1, "fsdp": 1, "tensor": 1, "min_shard": 2**20}
    c.dtype = "float32"        # compute; params are always float32

    c.encoders = {}            # modality -> {name, **kwargs}; a second one of a modality: any name -> {name, field: modality, **kwargs}
    c.head = {"kind": "linear", "dim": 128}    # projection to the embedding: linear | mlp | none
    # modality -> {mean, std} of its pixels after scaling to [0, 1] (0.5 and 0.5): numbers, or one a channel; of tables and vectors the
    # training rows' own, if not given. augment: on the device, before that, e.g. ({"name": "crop"}, {"name": "noise"}): mmrep/augment.py
    c.inputs = {}
    c.nets = {}                # modules that several terms share: name -> {name, **kwargs}
    c.objectives = {}          # term -> {name, weight, stream, from, until, ramp, **kwargs}

    # stream -> {source | sources (a mixture by weight, or temperature: weights rows**(1/T)), batch, prepare (transforms of every row),
    # augment (of training rows), evaluate (of evaluated rows, in augment's place: a central crop, the first pictures of a study),
    # cache_mib (prepared rows kept in memory, of each source and split), fraction (share of the training cases, in (0, 1]),
    # on_error ("raise" | "skip")}
    c.data = {}
    c.tokenizer = {"name": "byte", "length": 64}
    c.loader = {"threads": 2, "prefetch": 2}   # reader threads; batches ready ahead

    # name: of an optax optimizer, which takes kwargs; lr, wd: of kernels; warmup, then schedule (cosine | linear | rsqrt |
    # constant) down to end x lr, the last `cooldown` of rsqrt along a line; clip: largest norm of all gradients (0: none)
    c.optim = {"name": "adamw", "kwargs": {}, "lr": 1e-3, "wd": 1e-4, "warmup": "5%", "schedule": "cosine",
               "end": 0.0, "cooldown": "0 steps", "clip": 1.0}
    c.ema = {}                 # name -> {decay, final}; "eval" is what is judged (its decay grows from 0.1), others teachers
    c.rules = (                # regex table over leaf paths: freeze, lr, wd, layer_decay, shard; see mmrep/core/optim.py
        {"match": r".*/(qkv|q|kv|up)/kernel", "shard": (None, "tensor")},
        {"match": r".*/(out|down)/kernel", "shard": ("tensor", None)},
    )
    c.init = {"path": "", "only": ".*", "rename": {}}   # start from another run's params

    c.evals = {}               # name -> {name, stream, **kwargs}; of another stream than main the metrics' names begin with it
    # every: 0 = after training only; batch; limit: training rows that probes read (0: all); controls beside the results
    c.eval = {"every": "0 steps", "batch": 256, "limit": 4096, "controls": ("untrained", "raw_pca")}
    # every; keep: how many checkpoints, the best by metric (e.g. "val/probe/findings/auroc"; "": the newest)
    c.save = {"every": "25%", "metric": "", "mode": "max", "keep": 2}
    # trackers beside metrics.jsonl: TensorBoard; a project of Weights & Biases, an experiment of MLflow ("": none)
    c.log = {"every": "10 steps", "tensorboard": False, "wandb": "", "mlflow": ""}
    c.stages = ()              # dicts of overrides, run in sequence, each from the last one's params
    return c
