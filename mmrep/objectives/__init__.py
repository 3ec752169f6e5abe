"""Objectives: encodings to a loss and metrics. Pure functions, one file a family."""

from mmrep.objectives.caption import caption
from mmrep.objectives.contrastive import contrastive, moco
from mmrep.objectives.distill import distill
from mmrep.objectives.masked import masked
from mmrep.objectives.matching import matching
from mmrep.objectives.sigmoid import sigmoid
from mmrep.objectives.supervised import supervised
from mmrep.objectives.uniform import align_uniform

OBJECTIVES = {"contrastive": contrastive, "sigmoid": sigmoid, "moco": moco, "masked": masked, "distill": distill,
              "matching": matching, "caption": caption, "supervised": supervised, "align_uniform": align_uniform}
