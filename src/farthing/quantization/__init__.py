"""Quantization: integer weights and activations, after training or during it."""

from farthing.quantization.api import quantize
from farthing.quantization.rtn import quantize_weight

__all__ = ["quantize", "quantize_weight"]
