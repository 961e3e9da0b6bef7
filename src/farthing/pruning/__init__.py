"""Pruning: scores of importance, the units that go by them, and when they go."""

from farthing.pruning.api import prune

__all__ = ["prune"]
