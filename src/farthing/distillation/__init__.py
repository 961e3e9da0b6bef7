"""Knowledge transfer: a small network learns what a large model knows."""

from farthing.distillation.api import distill

__all__ = ["distill"]
