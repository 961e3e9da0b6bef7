"""The ``farthing`` command."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

__all__ = ["main"]


def _demo(arguments) -> int:
    try:
        import lightgbm  # noqa: F401
    except ImportError:
        raise SystemExit(
            "farthing demo: LightGBM is missing; install it with: pip install 'farthing[demo]'"
        ) from None
    from farthing.demo import data, run

    table = data.load(arguments.data)
    rows = run.run(table, seed=arguments.seed)
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
        return 0
    print(run.table(rows))
    print()
    print(run.LEGEND)
    return 0


def _info(arguments) -> int:
    import farthing

    facts = farthing.info()
    if arguments.json:
        print(json.dumps(facts, indent=2))
    else:
        width = max(map(len, facts))
        for key, value in facts.items():
            text = (", ".join(value) or "none") if isinstance(value, list) else value
            print(f"{key.ljust(width)}  {text}")
    return 0


def _inspect(arguments) -> int:
    import farthing

    description = farthing.load(arguments.model).describe()
    if arguments.json:
        print(json.dumps(description, indent=2))
        return 0
    for key, value in description.items():
        if key != "layers":
            print(f"{key}: {value}")
    for layer in description["layers"]:
        print("  " + "  ".join(f"{key}={value}" for key, value in layer.items()))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="farthing", description="Small, fast machine-learning models."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    demo = commands.add_parser("demo", help="distil, compress, judge and time a credit model")
    from farthing.demo.data import DEFAULT_PATH

    demo.add_argument(
        "--data",
        default=DEFAULT_PATH,
        metavar="FILE",
        help="the UCI credit-default CSV (default: %(default)s)",
    )
    demo.add_argument(
        "--seed",
        type=int,
        default=0,
        help="of the split and of all training (default: %(default)s)",
    )
    demo.add_argument("--json", action="store_true", help="print JSON instead of a table")
    demo.set_defaults(run=_demo)
    info = commands.add_parser("info", help="the CPU, the instruction sets in use and the version")
    info.add_argument("--json", action="store_true", help="print JSON")
    info.set_defaults(run=_info)
    inspect = commands.add_parser("inspect", help="what a .farthing file holds")
    inspect.add_argument("model", help="path of a .farthing file")
    inspect.add_argument("--json", action="store_true", help="print JSON")
    inspect.set_defaults(run=_inspect)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; 0 on success, 1 where the input is at fault."""
    arguments = _parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except (OSError, ValueError) as error:
        print(f"farthing {arguments.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"farthing {arguments.command}: interrupted", file=sys.stderr)
        return 130
