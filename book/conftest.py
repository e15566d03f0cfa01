"""Kernels that nbval starts for these notebooks work on one thread, as when their outputs were stored."""

import os

os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", PYTHONHASHSEED="0")
