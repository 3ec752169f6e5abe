"""The classification protocol of BenchX (Zhou et al. 2024): an image encoder fine-tuned on 1, 10 and 100 % of five chest radiograph sets.

  mmrep data build rsna_pneumonia --manual-dir raw/rsna --data-dir data       # with BenchX's lists; likewise siim_acr, covidx, ...
  for seed in 42 0 1; do for share in 1 10 100; do
    mmrep train configs/benchx.py:task=rsna,share=$share,seed=$seed,data_dir=data --workdir runs/rsna-$share-$seed \
      --config.init.path=runs/pretrained
  done; done

task: covidx, rsna, siim (one class; accuracy and AUROC), vindr and nih (14 findings; macro AUROC). As BenchX fixes it: its train,
validation and test images and shares of train (lists that the builders read), labels, 224 pixels, augmentation with mirroring, pixels' mean
and deviation, Adam or SGD, learning rate and batch of MGCA's ViT-B/16 (TASKS; other models have others in configs/classification/ there:
set them by flags), a tenth of the rate in the encoder, gradients clipped at 1, the checkpoint that is best on validation, seeds 42, 0, 1.
The encoder must be the pre-trained run's: by flags, or in a copy of this file.

Retrieval on MIMIC-5x200, of a run of images and reports on a `tfds` source (R@k/group is its Hit@k, of all 1,000 here, not of batches):
  mmrep evaluate runs/pretrained --data dataset=mimic_5x200 data_dir=data columns="{'image': 'image', 'group': 'finding', \
    'text': ['findings_text', 'impression'], 'case': 'case'}"

Otherwise here, so that numbers compare with each other, and with published ones roughly:
- 3,000 steps with one cosine, 20 validations. BenchX runs up to 200 epochs, its cosine of 3,000 steps rising again after them, and stops
  after ten validations (of five epochs each) without a better one.
- The checkpoint is chosen by AUROC; BenchX chooses by F1 where there is one class, which no evaluator here gives.
- A head is linear from a normal start; BenchX puts a layer norm before it (the encoder ends in one here) and starts it near zero, which
  it finds to matter at 1 %.
- MIMIC-5x200 is drawn anew (builders/five_by_200.py): BenchX's own images are not public.
- VinDr-CXR is read at its full size; its images, and those of RSNA and SIIM, are first shrunk to 512 pixels there (of the two here, too).
What this code base cannot express yet is not here: segmentation (RSNA, SIIM, TBX11K, Object-CXR with UPerNet at 512 pixels, mDice; the
builders of the first three hold the masks) and report generation (IU X-ray).

`:smoke` trains two steps of a tiny encoder, on the phantom where no data_dir is given.
"""

import base

from mmrep.config import parse_arg

SHARES = {1: "train_1", 10: "train_10", 100: "train"}
SGD = {"name": "sgd", "kwargs": {"momentum": 0.9}}
ADAM = {"name": "adam", "kwargs": {}}
# data set, label, head, the side that images are first resized to (0: none); batch, lr, optim of its */mgca_vit.yml
TASKS = {
    "covidx": {"dataset": "covidx", "label": "covid", "kind": "ce", "classes": 2, "side": 224, "batch": 32, "lr": 5e-4, "optim": ADAM},
    "rsna": {"dataset": "rsna_pneumonia", "label": "pneumonia", "kind": "ce", "classes": 2, "side": 512, "batch": 32, "lr": 1e-2,
             "optim": SGD},
    "siim": {"dataset": "siim_acr", "label": "pneumothorax", "kind": "ce", "classes": 2, "side": 512, "batch": 128, "lr": 1e-2,
             "optim": SGD},
    "vindr": {"dataset": "vindr_cxr", "label": "benchx", "kind": "bce", "classes": 14, "side": 0, "batch": 64, "lr": 3e-2, "optim": SGD},
    "nih": {"dataset": "nih_benchx", "label": "findings", "kind": "bce", "classes": 14, "side": 224, "batch": 64, "lr": 1e-2,
            "optim": SGD}}
PHANTOM = {"label": "findings", "kind": "bce", "classes": 6, "lr": 1e-2, "optim": SGD, "side": 0}


def get_config(arg: str = ""):
    a = parse_arg(arg, task="rsna", share=100, seed=42, data_dir="", smoke=False)
    if a.task not in TASKS or a.share not in SHARES:
        raise ValueError(f"configs/benchx.py: task must be one of {', '.join(TASKS)} and share 1, 10 or 100, got {a.task}, {a.share}")
    task, side = TASKS[a.task] if a.data_dir or not a.smoke else PHANTOM, 32 if a.smoke else 224
    c = base.get_config()
    c.seed = a.seed
    c.total = "2 steps" if a.smoke else "3000 steps"
    sizes = {"width": 32, "depth": 1, "heads": 4} if a.smoke else {"width": 768, "depth": 12, "heads": 12}
    c.encoders = {"image": {"name": "vit", "patch": (16, 16), "pool": "cls", **sizes}}
    c.head.kind = "none"
    c.inputs = {"image": {"mean": 0.4978, "std": 0.2449}}
    c.init.only = "encoders/image/trunk/.*"
    c.objectives = {"classify": {"name": "supervised", "heads": {task["label"]: {"kind": task["kind"], "classes": task["classes"]}}}}
    columns = {"image": "image", "label": {task["label"]: task["label"]}} | ({"case": "case"} if a.task in ("covidx", "nih") else {})
    source = {"name": "phantom", "size": side, "modalities": ("image",), "n": 64} if task is PHANTOM else {
        "name": "tfds", "dataset": task["dataset"], "data_dir": a.data_dir, "columns": columns, "splits": {"train": SHARES[a.share]}}
    c.data = {"main": {
        "source": source, "batch": 8 if a.smoke else task["batch"],
        "prepare": ({"name": "resize", "size": task["side"], "method": "bilinear"},) if task["side"] else (),
        "augment": ({"name": "random_crop", "size": side, "scale": (0.08, 1.0), "ratio": (3 / 4, 4 / 3), "method": "bilinear"},
                    {"name": "flip", "p": 0.5}),
        "evaluate": ({"name": "resize", "size": side, "method": "bilinear", "fit": "cover"},)}}
    c.optim.update(task["optim"])
    c.optim.lr, c.optim.wd, c.optim.warmup, c.optim.clip = task["lr"], 0.0, "0 steps" if a.smoke else "50 steps", 1.0
    c.rules += ({"match": "encoders/.*", "lr": 0.1},)
    c.evals = {"supervised": {"name": "supervised"}}
    c.eval.every = "5%"
    c.eval.controls = ("untrained",)
    c.save.metric = f"val/supervised/{task['label']}/auroc"
    return c
