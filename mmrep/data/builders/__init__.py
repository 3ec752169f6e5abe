"""TFDS builders of public data sets in their official layouts, by name."""

from mmrep.data.builders.base import Dataset
from mmrep.data.builders.captions import PMC_OA, QUILT_1M, ROCO_V2
from mmrep.data.builders.chest_ct import CT_RATE, RAD_CHEST_CT
from mmrep.data.builders.chexpert import CHEXPERT, CHEXPERT_TEST
from mmrep.data.builders.chexpert_plus import CHEXPERT_PLUS
from mmrep.data.builders.covidx import COVIDX
from mmrep.data.builders.five_by_200 import CHEXPERT_5X200, MIMIC_5X200
from mmrep.data.builders.fundus import EYEPACS, ODIR
from mmrep.data.builders.ham10000 import HAM10000
from mmrep.data.builders.iu_xray import IU_XRAY, IU_XRAY_R2GEN
from mmrep.data.builders.medmnist import MEDMNIST
from mmrep.data.builders.medpix2 import MEDPIX2
from mmrep.data.builders.mimic_cxr import MIMIC_CXR, MIMIC_CXR_FRONTAL, MIMIC_CXR_STUDIES
from mmrep.data.builders.mimic_iv import MIMIC_IV
from mmrep.data.builders.mimic_iv_ecg import MIMIC_IV_ECG
from mmrep.data.builders.ms_cxr import MS_CXR
from mmrep.data.builders.msd import MSD
from mmrep.data.builders.nih_benchx import NIH_BENCHX
from mmrep.data.builders.nih_cxr14 import NIH_CXR14
from mmrep.data.builders.padchest import PADCHEST
from mmrep.data.builders.ptb_xl import PTB_XL, PTB_XL_100
from mmrep.data.builders.rsna_pneumonia import RSNA_PNEUMONIA
from mmrep.data.builders.segmented import AMOS, BRATS, BTCV
from mmrep.data.builders.siim_acr import SIIM_ACR
from mmrep.data.builders.tbx11k import TBX11K
from mmrep.data.builders.tcga import TCGA
from mmrep.data.builders.vindr_cxr import VINDR_CXR
from mmrep.data.builders.vqa_answers import PATH_VQA, PMC_VQA, SLAKE
from mmrep.data.builders.vqa_rad import VQA_RAD

DATASETS: dict[str, Dataset] = {dataset.name: dataset for dataset in (
    MIMIC_CXR, MIMIC_CXR_FRONTAL, MIMIC_CXR_STUDIES, CHEXPERT, CHEXPERT_TEST, NIH_CXR14, IU_XRAY, IU_XRAY_R2GEN, ROCO_V2, MEDPIX2, VQA_RAD,
    PTB_XL, PTB_XL_100, *MEDMNIST, *MSD, HAM10000, ODIR, EYEPACS, SLAKE, PATH_VQA, PMC_VQA, PMC_OA, QUILT_1M, PADCHEST, CHEXPERT_PLUS,
    MIMIC_IV_ECG, CT_RATE, RAD_CHEST_CT, BTCV, AMOS, BRATS, TCGA, MIMIC_IV, RSNA_PNEUMONIA, SIIM_ACR, VINDR_CXR, TBX11K, COVIDX, MS_CXR,
    CHEXPERT_5X200, MIMIC_5X200, NIH_BENCHX)}
