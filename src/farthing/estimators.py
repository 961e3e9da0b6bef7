"""Estimators with scikit-learn's interface, without importing scikit-learn."""

from farthing.classifier import Classifier
from farthing.regressor import Regressor

__all__ = ["Classifier", "Regressor"]
