"""Run the notebooks and save what they show, without Jupyter: what their pages on the web are made of.

  python notebooks/execute.py [NAME ...]          all of them, or these; each in a process of its own
  python notebooks/execute.py --check [NAME ...]  run them, save nothing; fails where a cell fails, or shows other things than were saved

Kept of a cell is what Jupyter keeps: what it printed, its figures, the value of its last line.
"""

import argparse
import ast
import base64
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
NAMES = ("quickstart", "probe_embeddings", "alignment_gap", "compare_runs", "your_own_data")


def read(name: str) -> dict[str, Any]:
    """A notebook as its JSON says."""
    return json.loads((HERE / f"{name}.ipynb").read_text(encoding="utf-8"))


def write(name: str, notebook: dict[str, Any]) -> None:
    """Written as Jupyter writes it, so that a difference shows what changed; whole or not at all."""
    part = HERE / f"{name}.ipynb.part"
    part.write_text(json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
    part.replace(HERE / f"{name}.ipynb")


def lines(text: str) -> list[str]:
    """Text as notebooks hold it."""
    return text.splitlines(keepends=True)


def picture(png: bytes, text: str) -> dict[str, Any]:
    """A PNG and the words beside it."""
    return {"image/png": base64.b64encode(png).decode() + "\n", "text/plain": [text]}


def drawn(figure: Any) -> dict[str, Any]:
    """A matplotlib figure, as Jupyter shows it."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=figure.dpi, bbox_inches="tight")
    return picture(out.getvalue(), f"<Figure size {figure.bbox.width:.0f}x{figure.bbox.height:.0f}>")


def run_cell(source: str, space: dict[str, Any], number: int) -> tuple[list[dict], str]:
    """(outputs of a cell, the traceback that ended it or "")."""
    import matplotlib.pyplot as plt

    tree = ast.parse(source, f"<cell {number}>")
    last = ast.Expression(tree.body.pop().value) if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    shown = not source.rstrip().endswith(";")
    said, warned, outputs, value, error = io.StringIO(), io.StringIO(), [], None, ""
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(warned):
        try:
            exec(compile(tree, f"<cell {number}>", "exec"), space)
            value = eval(compile(last, f"<cell {number}>", "eval"), space) if last else None
        except Exception:
            error = traceback.format_exc()
    for stream, text in (("stdout", said.getvalue()), ("stderr", warned.getvalue())):
        if text:
            outputs.append({"name": stream, "output_type": "stream", "text": lines(text)})
    if value is not None and shown:
        png = getattr(value, "_repr_png_", None)
        data = picture(png(), f"<{type(value).__name__}>") if png else {"text/plain": lines(repr(value))}
        outputs.append({"data": data, "execution_count": number, "metadata": {}, "output_type": "execute_result"})
    for figure in map(plt.figure, plt.get_fignums()):
        outputs.append({"data": drawn(figure), "metadata": {}, "output_type": "display_data"})
    plt.close("all")
    return outputs, error


def kinds(outputs: list[dict]) -> list[str]:
    """What a cell shows, without its content: stdout, stderr, text, picture."""
    return [o["name"] if "name" in o else "picture" if "image/png" in o.get("data", ()) else "text" for o in outputs]


def execute(name: str, save: bool) -> None:
    """Run a notebook's cells in order in this process. Ends it with the traceback of a cell that fails; nothing is saved then."""
    import matplotlib

    matplotlib.use("Agg")
    notebook, began, space = read(name), time.perf_counter(), {"__name__": "__main__"}
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(code, 1):
        before, (cell["outputs"], error) = kinds(cell["outputs"]), run_cell("".join(cell["source"]), space, number)
        cell["execution_count"] = number
        for output in cell["outputs"]:
            if output.get("name") == "stderr":
                print("".join(output["text"]), file=sys.stderr)
        if error:
            sys.exit(f"{name}, cell {number}:\n{error}")
        if not save and kinds(cell["outputs"]) != before:
            sys.exit(f"{name}, cell {number}: shows {kinds(cell['outputs'])}, saved were {before}: run it without --check")
    if save:
        write(name, notebook)
    spent = os.times()
    cores = sum(spent[:4])  # of workers that a notebook starts, too
    print(f"{name}: {time.perf_counter() - began:.0f} s, {cores:.0f} s of one core{', saved' if save else ''}")


def main() -> None:
    """The command: see above."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)} (default: all)")
    p.add_argument("--check", action="store_true", help="run, save nothing")
    p.add_argument("--here", action="store_true", help=argparse.SUPPRESS)  # the process of one notebook
    args = p.parse_args()
    for name in args.names:
        if name not in NAMES:
            p.error(f"no notebook is called {name!r}; there are {', '.join(NAMES)}")
    if args.here:
        return execute(args.names[0], not args.check)
    flags, codes = ["--here", *["--check"] * args.check], []
    for name in args.names or NAMES:
        with tempfile.TemporaryDirectory() as folder:  # where the notebook makes its own
            command = [sys.executable, __file__, *flags, name]
            codes.append(subprocess.run(command, env=os.environ | {"TMPDIR": folder}).returncode)
    sys.exit(max(codes))


if __name__ == "__main__":
    main()
