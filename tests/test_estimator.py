"""`Segmenter` keeps scikit-learn's conventions, checked by scikit-learn itself where it is installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import decoupe
from decoupe.errors import Fault, UsageFault
from decoupe.estimator import NotFitted, Segmenter
from tests.tiny import photos

QUICK: dict[str, Any] = {"kind": "kmeans-1x1", "k": 2, "size": 32, "samples": 500}


def images(n: int = 10) -> np.ndarray:
    """(n, 40, 40, 3) uint8."""
    return photos(n, size=40).transpose(0, 2, 3, 1)


def test_fit_predict_score() -> None:
    X = images()
    found = decoupe.Segmenter("baselines", **QUICK).fit(X)
    labels = found.predict(X)
    assert isinstance(labels, np.ndarray) and labels.shape == (10, 40, 40) and set(np.unique(labels)) == {0, 1}
    truth = X.mean(3) > 125
    assert found.score(X, truth.astype(int)) > 0.8
    assert np.array_equal(found.fit_predict(X), labels)
    probs = found.predict_proba([X[0], X[1][:20]])
    assert [p.shape for p in probs] == [(2, 40, 40), (2, 20, 40)] and np.allclose(probs[0].sum(0), 1, atol=1e-5)
    mixed = found.predict([X[0], X[1][:20]])
    assert isinstance(mixed, list) and mixed[1].shape == (20, 40)
    assert found.model_.segment(X[0]).labels.shape == (40, 40)


def test_grey_images_and_lists() -> None:
    grey = [image[..., 0] for image in images()]
    assert Segmenter("baselines", **QUICK).fit(grey).predict(grey).shape == (10, 40, 40)  # type: ignore[union-attr]


@pytest.mark.parametrize("wrong", [[], "photos", 3, [np.zeros((4, 4))], [np.zeros(5, np.uint8)], None])
def test_what_are_no_images(wrong: Any) -> None:
    with pytest.raises(Fault):
        Segmenter("baselines", **QUICK).fit(wrong)


def test_settings_are_those_of_the_room_and_of_fit() -> None:
    one = Segmenter("baselines", **QUICK)
    assert one.get_params() == {"room": "baselines", **QUICK} and one.k == 2 and "kmeans-1x1" in repr(one)
    assert one.set_params(k=3, seed=4).get_params()["k"] == 3
    with pytest.raises(UsageFault, match="colours"):
        one.set_params(colours=3)
    with pytest.raises(UsageFault, match="colours"):
        Segmenter("baselines", colours=3).fit(images())
    with pytest.raises(NotFitted):
        Segmenter().predict(images())


@pytest.mark.filterwarnings("ignore:Can't test estimator")
def test_scikit_learn_clones_and_checks_it() -> None:
    """All of its checks that do not ask for a table of numbers, which images are not."""
    sklearn = pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install scikit-learn")
    from sklearn.base import clone
    from sklearn.exceptions import NotFittedError
    from sklearn.utils import estimator_checks as checks
    from sklearn.utils.validation import check_is_fitted

    one = Segmenter("baselines", **QUICK)
    twin = clone(one)
    assert twin is not one and twin.get_params() == one.get_params()
    with pytest.raises(NotFittedError):
        check_is_fitted(one)
    check_is_fitted(one.fit(images()))
    assert sklearn.utils.get_tags(one).input_tags.three_d_array
    results = checks.check_estimator(Segmenter("baselines", **QUICK), on_fail=None, on_skip=None)
    failed = {row["check_name"]: str(row["exception"])[:80] for row in results if row["status"] == "failed"}
    assert {name: why for name, why in failed.items() if name not in OWN_WAY} == {}
    for name in ("get_params_invariance", "set_params", "estimator_repr", "estimator_cloneable", "valid_tag_types"):
        getattr(checks, f"check_{name}")("Segmenter", Segmenter("baselines", **QUICK))


OWN_WAY = {
    "check_no_attributes_set_in_init": "settings of a room are kept together, whichever room it is",
    "check_do_not_raise_errors_in_init_or_set_param": "an unknown setting is an error at once",
}
"""Checks of scikit-learn that are met in another way, and why."""
