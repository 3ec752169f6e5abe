"""Evaluators: (split, texts, **kwargs) -> iterator of (name, Interval, or why there is none), from features embedded once.

split(name) -> Features of "train", "val" or "test"; texts(list of str) -> embeddings f32[n, E]. What is wrong with the
config (a label, modality or kwarg that is not there) is a ValueError; what the data cannot tell (too few cases, one class
only) is a reason under the metric's name. An evaluator gives the same names whatever the data.
"""

from mmrep.evals.alignment import alignment
from mmrep.evals.identify import identify
from mmrep.evals.probe import probe
from mmrep.evals.retrieval import retrieval
from mmrep.evals.spectrum import spectrum
from mmrep.evals.supervised import supervised
from mmrep.evals.zeroshot import zeroshot

EVALS = {"zeroshot": zeroshot, "retrieval": retrieval, "probe": probe, "alignment": alignment, "supervised": supervised,
         "identify": identify, "spectrum": spectrum}
