"""Run the book's notebooks from a fresh kernel and store them as one clean run.

    python tools/execute.py                         every notebook of the book, in place
    python tools/execute.py book/01_*.ipynb         these only
    python tools/execute.py --check                 run twice, in memory; fail if the two runs differ by a byte

A second run writes the same bytes: cell ids count up, nothing depends on the clock, and every kernel works
on one thread. What a reader sees is therefore exactly what this command computed.
"""
import argparse
import os
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

BOOK = Path(__file__).parents[1] / "book"
IMAGES = ("image/png", "image/jpeg")
TITLE = re.compile(r"\A# (Answer box|Check|Solution)\n")  # the first line of a folded cell, which JupyterLab shows
KERNEL_ENVIRONMENT = {  # sums of floats depend on the number of threads, sets of strings on the hash seed
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
}


def execute(notebook: nbformat.NotebookNode, cwd: Path) -> nbformat.NotebookNode:
    """Run ``notebook`` in ``cwd`` and return it tidied, as it is to be stored.

    Raises:
        CellExecutionError: a cell fails that is not tagged ``raises-exception``.
        ValueError: a picture has no alternative text, or a cell shows two pictures with different texts.
    """
    tidy_source(notebook)
    env = {**os.environ, **KERNEL_ENVIRONMENT}
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", record_timing=False,
                            resources={"metadata": {"path": str(cwd)}})
    client.execute(env=env)
    tidy_outputs(notebook)
    nbformat.validate(notebook)
    return notebook


def tidy_source(notebook: nbformat.NotebookNode) -> None:
    """Drop what editors leave behind: their metadata, random ids, an empty last cell, trailing blanks."""
    while notebook.cells and not notebook.cells[-1].source.strip():
        notebook.cells.pop()
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells, 1):
        cell.id = f"cell-{number:03d}"
        cell.source = "\n".join(line.rstrip() for line in cell.source.splitlines()).strip("\n")
        keep = {key: value for key, value in cell.metadata.items() if key in {"tags", "mystnb"}}
        if folded := folded_in_jupyter(cell):
            keep["jupyter"] = folded
            cell.source = f"# {title_of_folded(cell)}\n{TITLE.sub('', cell.source)}"  # this line is left in sight
        cell.metadata = nbformat.from_dict(keep)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None


def folded_in_jupyter(cell: nbformat.NotebookNode) -> dict[str, bool]:
    """Return what JupyterLab and Notebook 7 fold away: answers, as the page does, but not what ``check`` says."""
    tags = set(cell.metadata.get("tags", []))
    folded = {}
    if tags & {"hide-cell", "remove-input"}:
        folded["source_hidden"] = True
    if "hide-cell" in tags and not re.search(r"\bcheck\(", cell.source):
        folded["outputs_hidden"] = True
    return folded


def title_of_folded(cell: nbformat.NotebookNode) -> str:
    """Return what a folded cell is, without giving anything away."""
    if cell.source.endswith(")") and "labs.answer_box(" in cell.source:
        return "Answer box"
    return "Check" if re.search(r"\bcheck\(", cell.source) else "Solution"


def tidy_outputs(notebook: nbformat.NotebookNode) -> None:
    """Fix the language metadata and move the alternative texts to where the book's renderer reads them."""
    language = {"name": "python", "file_extension": ".py", "mimetype": "text/x-python",
                "pygments_lexer": "ipython3"}
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = nbformat.from_dict({"kernelspec": kernel, "language_info": language})
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type == "code":
            cell.outputs = merge_streams(cell.outputs)
            copy_alternative_text(cell, number)


def merge_streams(outputs: list) -> list:
    """Join neighbouring pieces of one stream: where the kernel flushed is a matter of chance."""
    merged = []
    for output in outputs:
        previous = merged[-1] if merged else None
        if output.output_type == "stream" and previous and previous.get("name") == output.name:
            previous.text += output.text
        else:
            merged.append(output)
    return merged


def copy_alternative_text(cell: nbformat.NotebookNode, number: int) -> None:
    """Copy ``output.metadata[mime]["alt"]`` to ``cell.metadata.mystnb.image.alt``.

    The plot helpers can only reach the output; MyST-NB renders ``<img alt>`` from the cell alone.
    """
    pictures = [(output, mime) for output in cell.outputs for mime in IMAGES if mime in output.get("data", {})]
    texts = {output.metadata.get(mime, {}).get("alt", "").strip() for output, mime in pictures}
    if "" in texts:
        raise ValueError(f"code cell {number} shows a picture without alternative text:\n{cell.source}")
    if len(texts) > 1:
        raise ValueError(f"code cell {number} shows pictures with different alternative texts; split it")
    if texts:
        settings = cell.metadata.setdefault("mystnb", nbformat.NotebookNode())
        settings.setdefault("image", nbformat.NotebookNode())["alt"] = texts.pop()
    elif "alt" in cell.metadata.get("mystnb", {}).get("image", {}):
        del cell.metadata.mystnb.image["alt"]


def process(path: Path, check: bool) -> str:
    """Execute one notebook; say what came of it in a word or two, failures with their reason."""
    before = path.read_text(encoding="utf-8")
    try:
        notebook = execute(nbformat.reads(before, as_version=4), path.parent)
    except (CellExecutionError, ValueError) as error:
        return f"failed: {error}"
    after = nbformat.writes(notebook) + "\n"
    if check:
        # Not against the stored bytes: another processor or image library may encode a picture differently.
        # Whether the stored text is still true is for nbval to say.
        again = nbformat.writes(execute(nbformat.reads(after, as_version=4), path.parent)) + "\n"
        return "same twice" if again == after else "differs from run to run"
    if after == before:
        return "same"
    path.write_text(after, encoding="utf-8")
    return "changed"


def main(arguments: list[str] | None = None) -> int:
    """Execute the named notebooks, or all; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebook", nargs="*", type=Path, help="default: every notebook in book/")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if two runs differ")
    parser.add_argument("--jobs", type=int, default=2, help="kernels at a time (default: 2)")
    options = parser.parse_args(arguments)
    paths = [path.resolve() for path in options.notebook] or sorted(BOOK.glob("*.ipynb"))

    def timed(path: Path) -> tuple[str, float]:
        start = time.perf_counter()
        return process(path, options.check), time.perf_counter() - start

    bad = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for path, (result, seconds) in zip(paths, pool.map(timed, paths), strict=True):
            print(f"{path.name}: {result} ({seconds:.1f} s)", flush=True)
            bad += result.startswith(("failed", "differs"))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
