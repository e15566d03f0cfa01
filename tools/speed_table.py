"""Print the README's tables of what the layers cost, on a CPU and on a GPU, from the stored measurements.

    python tools/speed_table.py

A test compares them with README.md: measure again, and the README follows or fails.
"""

from convtwist import results


def markdown(measured: dict) -> str:
    """Return the table: ratios to Conv2d, as a range over the shapes and for a whole ResNet-50 step."""
    rows = measured["rows"]
    engines = [engine for engine in ("eager", "compiled") if any(row["engine"] == engine for row in rows)]
    head = ["layer", "multiply-adds", *(f"{engine} training" for engine in engines), "memory",
            *(f"ResNet-50 step, {engine}" for engine in engines)]
    lines = [head, [":--"] + ["--:"] * (len(head) - 1)]
    for name in dict.fromkeys(row["contender"] for row in rows):
        ours = [row for row in rows if row["contender"] == name]
        layers = [row for row in ours if row["where"] == "layer"]
        plain = next(row for row in rows if (row["contender"], row["where"]) == ("Conv2d", "layer")
                     and row["shape"] == layers[0]["shape"])
        lines.append([name, f"{layers[0]['multiply_adds'] / plain['multiply_adds']:.2f}",
                      *(_range(row["training"]["ratio"] for row in layers if row["engine"] == e) for e in engines),
                      _range(row["memory"] for row in layers if row["engine"] == "eager"),
                      *(_range(row["training"]["ratio"] for row in ours if row["where"] != "layer"
                               and row["engine"] == e) for e in engines)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def gpu_markdown(before: dict, stacked: dict | None, after: dict | None) -> str:
    """Return the table for a GPU: a whole ResNet-50 first, then layers; ratios of training to Conv2d."""
    head = ["layer", "where", "engine", "plain operations", "three convolutions", "kernels in Triton"]
    lines = [head, [":--"] * 3 + ["--:"] * 3]
    rows = {(row["contender"], row["where"], tuple(row["shape"]), row["engine"]): row for row in before["rows"]}
    for key in sorted(rows, key=lambda key: (key[1] == "layer", list(rows).index(key))):
        name, where, (batch, channels, side), engine = key
        if name == "Conv2d":
            continue
        place = f"{batch} x {channels} x {side} x {side}" if where == "layer" else f"{where}, {batch} x {side} x {side}"
        others = [_gpu_cell(_same(measured, rows[key])) for measured in (stacked, after)]
        lines.append([name, place, engine, _gpu_cell(rows[key]), *(["", ""] if name.startswith("posted") else others)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _same(measured, wanted):
    keys = "contender", "where", "shape", "engine"
    found = [row for row in measured["rows"] if all(row[k] == wanted[k] for k in keys)] if measured else []
    return found[0] if found else None


def _gpu_cell(row):
    if row is None:
        return "not yet"
    ratio = row["training"]["ratio"]
    if row["where"] != "layer":
        return f"{ratio:.2f}, memory {row['memory']:.2f}"
    return f"{ratio:.1f}" if ratio < 10 else f"{ratio:.0f}"


def gpu_measured(name: str) -> dict | None:
    """Return ``"gpu"`` or ``"gpu_stacked"``, or ``None`` as long as nobody has run ``benchmarks/gpu.py``."""
    try:
        return results.load(name)
    except ValueError:
        return None


def _range(values):
    values = [f"{value:.2f}" for value in sorted(values)]
    return "not run" if not values else values[0] if values[0] == values[-1] else f"{values[0]} to {values[-1]}"


if __name__ == "__main__":
    print(markdown(results.load("layer")))
    print()
    print(gpu_markdown(results.load("gpu_before"), gpu_measured("gpu_stacked"), gpu_measured("gpu")))
