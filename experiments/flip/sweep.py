"""Image patches dropped in contrastive training (Li et al. 2023, FLIP): what it saves, what it costs, what a short whole tuning brings."""

from mmrep.sweeps import Point, fixed, product

CONFIG = "configs/quickstart.py"
SEEDS = {"smoke": 1, "small": (10, 11, 12), "paper": (10, 11, 12)}
BASELINE = {"mask": 0.0, "training": "once"}
FAMILY = ("retrieval/image_to_text/R@1/instance", "retrieval/text_to_image/R@1/instance")
SHOWN = (*FAMILY, "zeroshot/class/top1")

MASKS = (0.0, 0.5, 0.75, 0.95)  # the last leaves 3 patches of 64: a control
TWICE = (0.5,)  # also trained on twice the pairs, in about the time of no mask
TUNED = (0.0, 0.5, 0.75)  # of the first, a control: there is no difference between training and test to mend
TOTAL = {"smoke": (4, "steps"), "small": (384, "steps"), "paper": (12_800_000_000, "examples")}  # 32 epochs of LAION-400M
TUNING = {"smoke": "2 steps", "small": "38 steps", "paper": "1.28e8 examples"}  # a tenth; a hundredth
RATE = {"smoke": 1e-3, "small": 1e-3, "paper": 4e-8 * 128}  # of the tuning
BATCH = {"small": dict.fromkeys(MASKS, 64), "smoke": dict.fromkeys(MASKS, 32),
         "paper": {0.0: 16_384, 0.5: 32_768, 0.75: 65_536, 0.95: 65_536}}

# a small text encoder, so that the image encoder is what a step takes; marks that stand out and little noise, so that a minute of
# training teaches something
SMALL = {
    "encoders.image.width": 64, "encoders.image.depth": 2, "encoders.text.width": 32, "head.dim": 64, "optim.lr": 4e-3,
    "data.main.cache_mib": 64, "data.main.source": {"contrast": 4.0, "nuisance": 0.1, "n": {"train": 24_576}}}
# FLIP ViT-L/16, configs/default.py of the authors' repository; their learning rate is 4e-6 for every 256 of the batch
LARGE = {"pool": "mean", "scan": True, "remat": True}
PAPER = {
    "encoders.image": LARGE | {"patch": (16, 16), "width": 1024, "depth": 24, "heads": 16, "positions": "sincos"},
    "encoders.text": LARGE | {"pool": "last", "width": 768, "depth": 12, "heads": 12}, "head.dim": 768, "dtype": "bfloat16",
    "tokenizer": {"name": "wordpiece", "vocab_size": 30_522, "length": 32}, "data.main.source": {"size": 224, "n": {"train": 102_400}},
    "optim.name": "adamw", "optim.kwargs": {"consistent_rms": None, "adam_b2": None, "b2": 0.95}, "optim.wd": 0.2, "optim.warmup": "0.2%",
    "objectives.clip.temperature": 0.01}


def point(scale: str, mask: float, training: str) -> Point:
    """One run: the share of patches dropped; training: "once", "twice" the pairs, or "tuned", with a stage on whole images behind it."""
    image = {"modality": "image"} | ({"mask": mask} if mask else {})
    number, unit = TOTAL[scale]
    changes = {"objectives.clip.a": image, "data.main.batch": BATCH[scale][mask],
               "total": f"{number * (2 if training == 'twice' else 1)} {unit}",
               "eval.controls": () if mask or training != "once" else ("untrained",)}
    if scale == "paper":
        changes["optim.lr"] = 4e-6 * BATCH[scale][mask] / 256
    if training == "tuned":
        whole = {"total": TUNING[scale], "objectives": {"clip": {"a": {"mask": None}}}, "optim": {"lr": RATE[scale]}}
        changes["stages"] = ({}, whole)
    return Point({"mask": mask, "training": training}, changes)


def sweep(scale: str) -> list:
    evals = {f"evals.{name}": None for name in ("probe", "probe_class", "zeroshot_findings", "alignment")}
    settings = evals | {"small": SMALL, "smoke": {"arg.smoke": "true", "log.every": "1 steps"}, "paper": PAPER}[scale]
    runs = [(mask, "once") for mask in MASKS] + [(mask, "twice") for mask in TWICE] + [(mask, "tuned") for mask in TUNED]
    return product(fixed(settings), [point(scale, *run) for run in runs])
