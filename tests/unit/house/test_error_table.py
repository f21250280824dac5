"""Every error that Insula raises on purpose has a gRPC status."""

from __future__ import annotations

from collections.abc import Iterator

from insula import errors
from insula.rpc.statuses import STATUS_CODE_BY_ERROR


def leaves(kind: type[errors.InsulaError]) -> Iterator[type[errors.InsulaError]]:
    """Yield the subclasses of `kind` in insula.errors that have no subclass."""
    below = [sub for sub in kind.__subclasses__() if sub.__module__ == errors.__name__]
    if not below:
        yield kind
    for sub in below:
        yield from leaves(sub)


def test_every_leaf_error_has_a_row() -> None:
    """A leaf is an error class without subclasses. The row of its nearest base class counts as its own."""
    uncovered = [leaf for leaf in leaves(errors.InsulaError) if not set(leaf.__mro__) & STATUS_CODE_BY_ERROR.keys()]
    assert uncovered == []


def test_every_row_is_used_by_a_leaf() -> None:
    """A row without a leaf is dead code."""
    nearest = {
        next(kind for kind in leaf.__mro__ if kind in STATUS_CODE_BY_ERROR) for leaf in leaves(errors.InsulaError)
    }
    assert STATUS_CODE_BY_ERROR.keys() - nearest == set()
