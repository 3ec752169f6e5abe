"""CLIP on a table of images and captions of your own: CSV, TSV, JSONL or Parquet.

Written for MedPix 2.0 (Siragusa 2025; CT and MR slices with captions), and for any other table by flags only:

  mmrep train configs/clip_manifest.py --workdir runs/medpix2 --config.data.main.source.path=.../medpix2/metadata.jsonl

Several images of a case share a caption, so captions are the groups of positives, and cases the units of resampling.
`:no_modality_words` trains on captions without the words for CT and MR. `:smoke` writes a small table of synthetic subjects
to the temporary folder and trains on that. Chest radiographs and fundus pictures by flags only:

  S=--config.data.main.source
  mmrep train configs/clip_manifest.py --workdir runs/covid $S.path=.../covid_cxr/metadata.jsonl $S.splits="{}" $S.filter="{}" \
    $S.columns="{'image': 'image', 'text': 'clinical_notes', 'group': 'clinical_notes', 'case': 'patient_id', 'split': 'split', \
    'label': {'finding': 'finding'}}" \
    --config.evals="{'retrieval': {'name': 'retrieval'}, 'finding': {'name': 'probe', 'label': 'finding'}}"
  mmrep train configs/clip_manifest.py --workdir runs/odir $S.path=.../odir_96/metadata.jsonl $S.images=images.zip $S.channels=3 \
    $S.splits="{}" $S.filter="{}" --config.total="20 epochs" $S.columns="{'image': 'image', 'text': 'diagnostic_keywords', \
    'group': 'diagnostic_keywords', 'case': 'patient_id', 'split': 'split', 'label': {'eye': 'eye_label'}}" \
    --config.evals="{'retrieval': {'name': 'retrieval'}, 'eye': {'name': 'probe', 'label': 'eye'}}"
"""

import getpass
import tempfile
from pathlib import Path

import base

from mmrep.config import parse_arg


def get_config(arg: str = ""):
    a = parse_arg(arg, smoke=False, size=64, no_modality_words=False)
    c = base.get_config()
    c.total = "2 steps" if a.smoke else "120 epochs"
    width, depth = (32, 1) if a.smoke else (128, 6)
    c.encoders = {
        "image": {"name": "vit", "patch": (8, 8), "width": width, "depth": depth, "heads": 4, "pool": "mean",
                  "positions": "sincos"},
        "text": {"name": "text", "width": width, "depth": max(depth // 2, 1), "heads": 4, "pool": "mean"},
    }
    c.head.dim = 128
    c.inputs = {"image": {"mean": 0.26, "std": 0.29}}  # MedPix's pixels
    c.tokenizer = {"name": "wordpiece", "vocab_size": 4096, "length": 48}
    # half of the patches in every step (FLIP, Li 2023), chosen on validation with the 120 epochs it pays for (experiments/real_tables)
    c.objectives = {"clip": {"name": "contrastive", "temperature": 0.1, "a": {"modality": "image", "mask": 0.5}}}
    words = ("ct", "cts", "mr", "mri", "mra", "mrs", "computed tomography", "tomography", "tomographic", "cat scan",
             "magnetic resonance", "magnetic", "resonance")
    prepare = ({"name": "resize", "size": a.size},)
    if a.no_modality_words:
        prepare += ({"name": "remove_words", "words": words},)
    c.data = {"main": {
        "source": {"name": "manifest", "path": "", "splits": {"val": "dev"}, "filter": {"caption_ok": {"not": False}},
                   "columns": {"image": "image", "text": "caption", "group": "caption", "case": "case_id", "split": "split",
                               "label": {"modality": "type", "location": "location_category"}}},
        "prepare": prepare,
        "augment": ({"name": "random_crop", "size": a.size, "scale": (0.5, 1.0)}, {"name": "rotate", "degrees": 10.0},
                    {"name": "intensity"}),
        "batch": 32 if a.smoke else 128, "cache_mib": 1024}}
    if a.smoke:
        from mmrep.data.phantom.export import write_table

        c.data.main.source.path = str(write_table(Path(tempfile.gettempdir()) / f"mmrep-smoke-{getpass.getuser()}"))
    c.optim.name = "muon"
    c.optim.kwargs = {"consistent_rms": 0.2}
    c.optim.lr = 1e-3
    c.optim.wd = 0.05
    c.optim.warmup = "10%"
    c.evals = {
        "retrieval": {"name": "retrieval", "ks": (1, 5, 10)},
        "modality": {"name": "probe", "label": "modality", "fractions": (1.0,)},
        "location": {"name": "probe", "label": "location", "fractions": (1.0,)},
        "alignment": {"name": "alignment"},
    }
    return c
