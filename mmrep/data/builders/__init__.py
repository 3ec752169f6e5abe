"""TFDS builders of public data sets in their official layouts, by name."""

from mmrep.data.builders.base import Dataset
from mmrep.data.builders.captions import PMC_OA, QUILT_1M
from mmrep.data.builders.chest_ct import CT_RATE, RAD_CHEST_CT
from mmrep.data.builders.chexpert_plus import CHEXPERT_PLUS
from mmrep.data.builders.fundus import EYEPACS, ODIR
from mmrep.data.builders.ham10000 import HAM10000
from mmrep.data.builders.mimic_iv import MIMIC_IV
from mmrep.data.builders.mimic_iv_ecg import MIMIC_IV_ECG
from mmrep.data.builders.padchest import PADCHEST
from mmrep.data.builders.segmented import AMOS, BRATS, BTCV
from mmrep.data.builders.tcga import TCGA
from mmrep.data.builders.vqa_answers import PATH_VQA, PMC_VQA, SLAKE

DATASETS: dict[str, Dataset] = {dataset.name: dataset for dataset in (
    HAM10000, ODIR, EYEPACS, SLAKE, PATH_VQA, PMC_VQA, PMC_OA, QUILT_1M, PADCHEST, CHEXPERT_PLUS, MIMIC_IV_ECG, CT_RATE, RAD_CHEST_CT,
    BTCV, AMOS, BRATS, TCGA, MIMIC_IV)}
