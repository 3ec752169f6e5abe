"""Synthetic medical subjects with known ground truth: latents, one file a modality, and a source of them."""

from mmrep.data.phantom.anatomy import ORGANS, STYLE
from mmrep.data.phantom.ceiling import ceiling
from mmrep.data.phantom.factors import MODALITIES, VISIBILITY
from mmrep.data.phantom.identify import identifiable
from mmrep.data.phantom.image import render_image
from mmrep.data.phantom.information import information, mix
from mmrep.data.phantom.latents import (
    CLASSES,
    CLINICAL_PREVALENCE,
    FINDINGS,
    LATERALITIES,
    MARKERS,
    PREVALENCE,
    RHYTHMS,
    SEVERITIES,
    ZONES,
    latents,
)
from mmrep.data.phantom.omics import omics
from mmrep.data.phantom.signal import LEADS, render_signal
from mmrep.data.phantom.source import SCALES, Phantom, phantom
from mmrep.data.phantom.tabular import CARDINALITIES, CATEGORIES, COLUMNS, tabular
from mmrep.data.phantom.text import ATTRIBUTES, mentioned, parse, prompts, report, semantics
from mmrep.data.phantom.volume import render_volume

__all__ = ["ATTRIBUTES", "CARDINALITIES", "CATEGORIES", "CLASSES", "CLINICAL_PREVALENCE", "COLUMNS", "FINDINGS", "LATERALITIES",
           "LEADS", "MARKERS", "MODALITIES", "ORGANS", "PREVALENCE", "Phantom", "RHYTHMS", "SCALES", "SEVERITIES", "STYLE", "VISIBILITY",
           "ZONES", "ceiling", "identifiable", "information", "latents", "mentioned", "mix", "omics", "parse", "phantom", "prompts",
           "render_image", "render_signal", "render_volume", "report", "semantics", "tabular"]
