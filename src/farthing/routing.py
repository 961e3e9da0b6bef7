"""scikit-learn's metadata routing: which arguments meta-estimators hand on to an estimator.

scikit-learn is imported only where one of its tools asks, or where a request is set.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Self

__all__ = ["Consumer", "Requests"]

# Those that take more than X and y.
_METHODS = ("fit", "score")


class Requests(dict):
    """What was asked for, {method: {argument: True, False, None or another name}}."""

    def __sklearn_clone__(self) -> Requests:
        """What `sklearn.base.clone` gives a clone."""
        return Requests({method: dict(asked) for method, asked in self.items()})


class Consumer:
    """What lets `Pipeline`, `GridSearchCV` and their like pass weights on, by
    ``sklearn.set_config(enable_metadata_routing=True)``.

    A request is True (hand it on), False (do not), None (an error where it is given, which is
    where every argument begins) or the name under which the meta-estimator is given it.
    """

    __slots__ = ()
    # The name that `sklearn.base.clone` looks for; present once a request was set.
    _metadata_request: Requests

    def set_fit_request(self, **requests: bool | str | None) -> Self:
        """Which of sample_weight, eval_set and groups meta-estimators hand on to `fit`.

        Returns the estimator. TypeError for another argument, ValueError for a request that is
        no boolean, None or name, RuntimeError where metadata routing is not enabled.
        """
        return self._request("fit", requests)

    def set_score_request(self, **requests: bool | str | None) -> Self:
        """Whether meta-estimators hand sample_weight on to `score`; as `set_fit_request`."""
        return self._request("score", requests)

    def get_metadata_routing(self):
        """The requests as a ``sklearn.utils.metadata_routing.MetadataRequest``."""
        from sklearn.utils.metadata_routing import MetadataRequest

        routing = MetadataRequest(owner=type(self).__name__)
        asked = vars(self).get("_metadata_request", {})
        for method in _METHODS:
            for name in self._requestable(method):
                alias = asked.get(method, {}).get(name)
                getattr(routing, method).add_request(param=name, alias=alias)
        return routing

    def _requestable(self, method: str) -> list[str]:
        names = list(inspect.signature(getattr(self, method)).parameters)
        return [name for name in names if name not in ("X", "y")]

    def _request(self, method: str, requests: Mapping[str, Any]) -> Self:
        from sklearn import get_config
        from sklearn.utils.metadata_routing import UNCHANGED, MetadataRequest

        if not get_config()["enable_metadata_routing"]:
            raise RuntimeError(
                f"set_{method}_request needs metadata routing, which is off: "
                "sklearn.set_config(enable_metadata_routing=True)"
            )
        allowed = self._requestable(method)
        for name in requests:
            if name not in allowed:
                raise TypeError(f"{method} can be handed {allowed}, got a request for {name!r}")
        changed = {name: alias for name, alias in requests.items() if alias != UNCHANGED}
        for name, alias in changed.items():  # checks them
            getattr(MetadataRequest(owner=""), method).add_request(param=name, alias=alias)
        # A new one: copies of the estimator keep theirs.
        asked = Requests(vars(self).get("_metadata_request", {}))
        asked[method] = asked.get(method, {}) | changed
        self._metadata_request = asked
        return self
