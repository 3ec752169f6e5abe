"""Of every data set: what it says of itself, and that README.md lists it."""

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

from mmrep.data.builders import DATASETS

README = Path(__file__).resolve().parents[3] / "README.md"
SEVERAL = ("text", "tabular", "category")  # keys whose value may be several features


@pytest.mark.parametrize("name", DATASETS)
def test_a_data_set_says_what_a_user_must_know(name):
    import tensorflow_datasets as tfds

    dataset = DATASETS[name]
    assert dataset.name == name and re.fullmatch(r"[a-z][a-z0-9_]*", name) and re.fullmatch(r"\d+\.\d+\.\d+", dataset.version)
    assert dataset.homepage.startswith("http") and len(dataset.license) > 2 and len(dataset.manual) > 10 and len(dataset.description) > 60
    assert re.match(r"@\w+\{\w+, title=\{", dataset.citation) and re.search(r"year=\{20\d\d\}", dataset.citation)
    assert dataset.layout == "" or re.search(r"git(?:hub|lab)[\w.]*/[\w.-]+/[\w.-]+|https://", dataset.layout)
    features, used = dataset.features(tfds.features), []
    for key, column in dataset.columns.items():
        assert isinstance(column, dict if key == "label" else (str, list) if key in SEVERAL else str)
        used += column.values() if key == "label" else [column] if isinstance(column, str) else column
    assert used and not set(used) - set(features)
    assert "case" in dataset.columns or "mnist" in name  # which does not tell patients
    assert all(len(of) == features[key].shape[0] for key, of in dataset.names.items())


def test_the_readme_lists_every_data_set_and_marks_what_is_unverified():
    section = README.read_text("utf-8").partition("### Public data sets")[2].partition("\n### ")[0]
    lines = "".join(line for line in section.splitlines() if line.startswith("|"))
    listed = dict(re.findall(r"`([a-z][\w*]*|\*\w+)`( \(unverified\))?", lines))
    found = {name: [pattern for pattern in listed if fnmatch(name, pattern)] for name in DATASETS}
    assert not [name for name, patterns in found.items() if not patterns], "in no line of the table"
    assert not [pattern for pattern in listed if not any(pattern in patterns for patterns in found.values())], "no such data set"
    for name, patterns in found.items():
        assert bool(listed[patterns[0]]) == (DATASETS[name].layout == "")
