"""``python -m farthing``: the command line, or ``--cflags`` and ``--libs`` for embedding in C."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
FLAGS = {
    "--cflags": f"-I{HERE / 'include'}",
    "--libs": f"-L{HERE / 'lib'} -lfarthing -lm",
}

if len(sys.argv) > 1 and set(sys.argv[1:]) <= set(FLAGS):
    print(*(FLAGS[argument] for argument in sys.argv[1:]))
else:
    from farthing.cli import main

    sys.exit(main())
