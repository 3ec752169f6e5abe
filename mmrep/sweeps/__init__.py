"""Sweeps: axes and seeds to runs, runs to one table, the table to a report. A study is a folder with a `sweep.py`."""

from mmrep.sweeps.axes import Point, grid, named, product, sample

__all__ = ["Point", "grid", "named", "product", "sample"]
