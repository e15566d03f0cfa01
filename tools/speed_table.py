"""Print the README's table of what the layers cost, from the stored measurements.

    python tools/speed_table.py

A test compares it with README.md: measure again, and the README follows or fails.
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


def _range(values):
    values = [f"{value:.2f}" for value in sorted(values)]
    return "not run" if not values else values[0] if values[0] == values[-1] else f"{values[0]} to {values[-1]}"


if __name__ == "__main__":
    print(markdown(results.load("layer")))
