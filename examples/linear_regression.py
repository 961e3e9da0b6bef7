"""The article's worked example: linear regression, solved exactly, then stored in 4 bits.

The data follow y = 2 x, so least squares finds theta = 2.0. The article's own formula divides
by 2**(bits - 1) and rounds, which leaves nothing of a coefficient this small; a scale taken
from the weights themselves keeps it. Run with

    python examples/linear_regression.py
"""

import numpy as np

import farthing


def article_quantize(theta: float, bits: int) -> float:
    """The article's formula and its inverse: round(theta / 2**(bits - 1)) * 2**(bits - 1)."""
    step = 2 ** (bits - 1)
    return round(theta / step) * step


def main() -> None:
    X = np.arange(1.0, 11.0).reshape(-1, 1)
    y = 2.0 * X[:, 0]

    model = farthing.Regressor(hidden=(), encoder=None, solver="exact").fit(X, y)
    theta = float(model.coef_[0])
    print(f"{'least squares':28} theta = {theta:.4f}")

    for bits in (8, 4):
        by_formula = article_quantize(theta, bits)
        print(f"{f'{bits} bits, article formula':28} theta = {by_formula:.4f}")
        quantized = farthing.quantize(model, X, y, weight_bits=bits)
        kept = float(quantized.coef_[0])
        worst = np.abs(quantized.predict(X) - y).max() / np.ptp(y)
        print(
            f"{f'{bits} bits, farthing.quantize':28} theta = {kept:.4f}, "
            f"off by {abs(kept / theta - 1):.2%}; predictions within {worst:.2%} of the range of y"
        )


if __name__ == "__main__":
    main()
