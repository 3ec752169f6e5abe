"""Evaluators: (split, texts, **kwargs) -> iterator of (name, Interval), from features embedded once.

split(name) -> Features of "train", "val" or "test"; texts(list of str) -> embeddings f32[n, E].
"""

from mmrep.evals.alignment import alignment
from mmrep.evals.probe import probe
from mmrep.evals.retrieval import retrieval
from mmrep.evals.zeroshot import zeroshot

EVALS = {"zeroshot": zeroshot, "retrieval": retrieval, "probe": probe, "alignment": alignment}
