"""One thread for every library that takes their number from the environment.

Imported before numpy, which is why its name comes first; a benchmark of two threads asks its
peers for them.
"""

import os

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
