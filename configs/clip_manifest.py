"""CLIP on MedPix 2.0 (Siragusa 2025): CT and MR slices with captions, in the table of its official splits.

  mmrep train configs/clip_manifest.py --workdir runs/medpix2 --config.data.main.source.path=.../medpix2/metadata.jsonl

The network, augmentation and optimizer are those of configs/clip_table.py, which takes any table of images and texts. Several
images of a case share a caption, so captions are the groups of positives, and cases the units of resampling.
`:no_modality_words` trains on captions without the words for CT and MR and for what only one of them measures (T1, attenuation).
`:smoke` writes a small table of synthetic subjects to the temporary folder and trains on that. Chest radiographs and fundus
pictures by flags only:

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

import clip_table

from mmrep.config import parse_arg

# what names the modality in a caption (of which 56 % do), or speaks of what only one of the two measures
WORDS = tuple("""ct cts cta cect nect ncct hrct mr mri mra mrs mrv mrcp fmri tomography tomographic tomogram magnetic resonance
t1 t2 t1w t2w t1wi t2wi t1-weighted t2-weighted weighted weighting flair stir dwi adc gre fgre swi fse spgr gad gado gadolinium
postgad postgadolinium post-gad post-gadolinium signal signals intensity intensities hyperintense hypointense isointense
hyperintensity hypointensity hounsfield hu attenuation attenuating hypoattenuating hyperattenuating density densities hyperdense
hypodense isodense hyperdensity hypodensity""".split()) + ("computed tomography", "cat scan", "magnetic resonance")


def get_config(arg: str = ""):
    a = parse_arg(arg, smoke=False, size=64, no_modality_words=False)
    c = clip_table.get_config(f"size={a.size},case=case_id" + (",smoke" if a.smoke else ""))
    c.total = "2 steps" if a.smoke else "120 epochs"  # chosen on validation, with the half of the patches (experiments/real_tables)
    c.inputs = {"image": {"mean": 0.26, "std": 0.29}}
    c.tokenizer.length = 48
    source = c.data.main.source
    source.splits = {"val": "dev"}
    source.filter = {"caption_ok": {"not": False}}
    source.columns.label = {"modality": "type", "location": "location_category"}
    if a.no_modality_words:
        c.data.main.prepare += ({"name": "remove_words", "words": WORDS},)
    for label in ("modality", "location"):
        c.evals[label] = {"name": "probe", "label": label, "fractions": (1.0,)}
    return c
