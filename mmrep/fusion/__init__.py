"""Fusion: modules that read several modalities' tokens, shared by terms through `config.nets`."""

from mmrep.fusion.cross_attention import cross_attention

NETS = {"cross_attention": cross_attention}
