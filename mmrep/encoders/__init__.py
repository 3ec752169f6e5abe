"""Encoders: arrays to tokens and a pooled vector. Pure linen modules that know nothing of objectives or devices."""

from mmrep.encoders.bag import BagTransformer
from mmrep.encoders.mlp import ResidualMLP
from mmrep.encoders.perceptron import Perceptron
from mmrep.encoders.tabular import TableTransformer
from mmrep.encoders.text import TextTransformer
from mmrep.encoders.vit import PatchTransformer

ENCODERS = {"vit": PatchTransformer, "text": TextTransformer, "table": TableTransformer, "mlp": ResidualMLP,
            "perceptron": Perceptron, "bag": BagTransformer}
