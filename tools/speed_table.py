"""Print the README's tables of what the layers cost, on a CPU and on a GPU, from the stored measurements.

    python tools/speed_table.py

A test compares them with README.md: measure again, and the README follows or fails.
"""

from convtwist import results

GPU_ENGINES = {"graph": "CUDA graph", "eager": "eager", "compiled": "compiled", "recorded": "reduce-overhead"}


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


def gpu_markdown(before: dict, stacked: dict, after: dict) -> str:
    """Return the table for a GPU: ratios of training to Conv2d, a whole ResNet-50 first, then each shape."""
    ways = {"plain operations": before, "three convolutions": stacked, "kernels": after}
    places = list(dict.fromkeys((row["where"], *row["shape"]) for row in [*after["rows"], *before["rows"]]))
    places.sort(key=lambda place: place[0] == "layer")
    head = ["layer", "way", "engine", *(" x ".join(map(str, place[1:])) if place[0] == "layer" else place[0]
                                        for place in places)]
    lines = [head, [":--"] * 3 + ["--:"] * len(places)]
    for name in ("ConvTwist similarity", "IsoTwist2d", "posted version 2"):
        for way, measured in ways.items():
            for engine in GPU_ENGINES:
                rows = {(row["where"], *row["shape"]): row for row in measured["rows"]
                        if (row["contender"], row["engine"]) == (name, engine)}
                if rows:
                    said = way
                    if name.startswith("posted"):  # which no way of ours computes
                        said = "as written, earlier run" if measured is before else "as written"
                    lines.append([name, said, GPU_ENGINES[engine],
                                  *(_gpu_cell(rows.get(place)) for place in places)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _gpu_cell(row):
    if row is None:
        return "not run"
    ratio = row["training"]["ratio"]
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def _range(values):
    values = [f"{value:.2f}" for value in sorted(values)]
    return "not run" if not values else values[0] if values[0] == values[-1] else f"{values[0]} to {values[-1]}"


if __name__ == "__main__":
    print(markdown(results.load("layer")))
    print()
    print(gpu_markdown(*map(results.load, ("gpu_before", "gpu_stacked", "gpu"))))
