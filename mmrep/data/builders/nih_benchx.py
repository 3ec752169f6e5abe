"""NIH ChestX-ray14 in the splits of BenchX, which are MRM's: others than the official ones, of the same files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmrep.data.builders.base import SPLITS
from mmrep.data.builders.chest_xray import BENCHX, listed
from mmrep.data.builders.nih_cxr14 import NIH_CXR14


def _examples(folder: Path, split: str) -> Iterator[tuple[str, Any]]:
    records = {name: record for part in SPLITS for name, record in NIH_CXR14.examples(folder, part)}
    for name in listed(folder, split, records, "the set's table"):
        yield name, records[name]


NIH_BENCHX = NIH_CXR14._replace(
    name="nih_benchx",
    description="NIH ChestX-ray14 in the splits of BenchX (those of MRM: 70 % train, 10 % val, 20 % test); train_10 and train_1 repeat a "
                "tenth and a hundredth of train. Records as of nih_cxr14.",
    manual=NIH_CXR14.manual.rstrip(".") + "; and benchx/{train,train_10,train_1,val,test}.txt of github.com/yangzhou12/BenchX, "
           "preprocess/datasets/NIH_Chest_Xray.",
    layout=NIH_CXR14.layout + "; github.com/yangzhou12/BenchX, unifier/datasets/datasets.py (NIH_Dataset)",
    examples=_examples, splits=BENCHX)
