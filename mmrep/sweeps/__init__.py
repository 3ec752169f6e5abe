"""Sweeps: axes and seeds to runs, runs to one table, the table to a report. A study is a folder with a `sweep.py`."""

from mmrep.sweeps.axes import Point, fixed, grid, log_uniform, named, product, sample, uniform

__all__ = ["Point", "fixed", "grid", "log_uniform", "named", "product", "sample", "uniform"]
