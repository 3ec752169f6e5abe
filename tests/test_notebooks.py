"""The notebooks: what is committed of them reads well on a page, and they run."""

import ast
import subprocess
import sys

import pytest

from notebooks.execute import HERE, NAMES, kinds, read, run_cell
from tests import runs

FAST = ("your_own_data",)
FOREIGN = ("/tmp/", "/home", "/work", "/root", "/var/", "\\Users\\")  # parts of a machine's own paths
NEEDS = {"mmrep", "numpy", "matplotlib", "PIL"}


def code(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def texts(output):
    """What a page shows of an output in words."""
    return "".join(output.get("text", ())) + "".join("".join(v) for k, v in output.get("data", {}).items() if k.startswith("text/"))


def test_all_are_listed():
    assert sorted(path.stem for path in HERE.glob("*.ipynb")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_committed_and_small(name):
    notebook = read(name)
    assert (HERE / f"{name}.ipynb").stat().st_size < 300_000
    cells = code(notebook)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1)), "not run in order; python notebooks/execute.py"
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert sum("image/png" in output.get("data", ()) for output in outputs) >= 1
    for output in outputs:
        assert output["output_type"] != "error" and output.get("name") != "stderr", texts(output)
        assert len(texts(output).splitlines()) <= 60
        assert all(len(line) <= 130 for line in texts(output).splitlines()), "wider than a page"
        assert not any(part in texts(output) for part in FOREIGN), texts(output)


@pytest.mark.parametrize("name", NAMES)
def test_cells_are_short_and_explained(name):
    cells = read(name)["cells"]
    assert cells[0]["cell_type"] == cells[-1]["cell_type"] == "markdown"
    assert "".join(cells[0]["source"]).startswith("# ") and "**How long:**" in "".join(cells[0]["source"])
    assert "## Where to go next" in "".join(cells[-1]["source"])
    assert len({cell["id"] for cell in cells}) == len(cells)
    for cell in cells:
        source = "".join(cell["source"])
        assert not any(part in source for part in FOREIGN)
        if cell["cell_type"] == "code":
            assert sum(bool(line.strip()) for line in source.splitlines()) <= 16, source
            assert max(map(len, source.splitlines())) <= 118, source


@pytest.mark.parametrize("name", NAMES)
def test_needs_nothing_that_the_project_does_not(name):
    nodes = [node for cell in code(read(name)) for node in ast.walk(ast.parse("".join(cell["source"])))]
    modules = {a.name for n in nodes if isinstance(n, ast.Import) for a in n.names} | {
        n.module for n in nodes if isinstance(n, ast.ImportFrom)}
    assert {module.partition(".")[0] for module in modules} <= NEEDS | set(sys.stdlib_module_names)


@pytest.mark.parametrize("name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in NAMES])
def test_executes(name, tmp_path):
    done = subprocess.run([sys.executable, str(HERE / "execute.py"), "--check", name], cwd=tmp_path, env=runs.environment(),
                          capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert not list(tmp_path.iterdir())  # nothing is written where it is run


def test_what_is_kept_of_a_cell():
    outputs, error = run_cell("import matplotlib.pyplot as plt\nprint('a')\nfig = plt.figure()\n3", {}, 1)
    assert kinds(outputs) == ["stdout", "text", "picture"] and not error and texts(outputs[1]) == "3"
    assert kinds(run_cell("import sys; print('b', file=sys.stderr); 3;", {}, 2)[0]) == ["stderr"]
    assert "ZeroDivisionError" in run_cell("1 / 0", {}, 3)[1]
