"""What the book's measurements come from; run with ``python -m benchmarks.layer`` in the project's folder."""
