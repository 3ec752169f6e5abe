"""Synthetic medical subjects with known ground truth: latents, one file a modality, and a source of them."""

from mmrep.data.phantom.ceiling import ceiling
from mmrep.data.phantom.image import render_image
from mmrep.data.phantom.latents import (
                                        CLASSES,
                                        CLINICAL_PREVALENCE,
                                        FINDINGS,
                                        LATERALITIES,
                                        PREVALENCE,
                                        SEVERITIES,
                                        VISIBILITY,
                                        ZONES,
                                        latents,
)
from mmrep.data.phantom.source import MODALITIES, Phantom, phantom
from mmrep.data.phantom.tabular import CARDINALITIES, CATEGORIES, COLUMNS, tabular
from mmrep.data.phantom.text import ATTRIBUTES, mentioned, parse, prompts, report, semantics

__all__ = ["ATTRIBUTES", "CARDINALITIES", "CATEGORIES", "CLASSES", "CLINICAL_PREVALENCE", "COLUMNS", "FINDINGS", "LATERALITIES",
           "MODALITIES", "PREVALENCE", "Phantom", "SEVERITIES", "VISIBILITY", "ZONES", "ceiling", "latents", "mentioned", "parse",
           "phantom", "prompts", "render_image", "report", "semantics", "tabular"]
