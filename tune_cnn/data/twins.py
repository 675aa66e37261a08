"""Near twins among images: neighbouring frames of a video, the same photograph cropped, scaled or recompressed.

Two images are near twins if at most `LARGEST_DISTANCE` of the 256 bits of their hashes differ and their thumbnails
correlate by `LEAST_CORRELATION` or more. See docs/decisions/0006 for what these two were tried on.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tune_cnn.data.sketch import HASH_BITS, HASH_BYTES, Sketches

LARGEST_DISTANCE = 90
LEAST_CORRELATION = 0.8

_BLOCK = 128  # rows compared at a time: with ten thousand columns some 20 MB
_PAIRS = 100_000  # candidates whose thumbnails are compared at a time: some 200 MB

Places: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True)
class NearestTwins:
    """For each of N images its nearest twin: `places` (N,) in the pool and `distances` (N,) in bits; -1 without one."""

    places: Places
    distances: Places


def nearest_twins(
    queries: Sketches, pool: Sketches, *, query_labels: Places | None = None, pool_labels: Places | None = None
) -> NearestTwins:
    """Find each image's nearest twin in a pool; of equally near ones the first.

    Every pair is looked at: ten thousand images against as many take about two seconds of one core.

    Args:
        queries: (N, SKETCH_BYTES).
        pool: (M, SKETCH_BYTES); an image is a twin of itself, unless labels rule that out.
        query_labels: (N,); with `pool_labels`, only pairs of different labels count.
        pool_labels: (M,).

    Returns:
        All -1 if either is empty.
    """
    places = np.full(len(queries), -1, np.int64)
    distances = np.full(len(queries), HASH_BITS + 1, np.int64)
    query_thumbs, pool_thumbs = _thumbs(queries), _thumbs(pool)
    for query, twin, distance in _near_hashes(_words(queries), _words(pool), query_labels, pool_labels):
        alike = np.einsum("ij,ij->i", query_thumbs[query], pool_thumbs[twin]) >= LEAST_CORRELATION
        order = np.flatnonzero(alike)[np.lexsort((twin[alike], distance[alike], query[alike]))]
        first, at = np.unique(query[order], return_index=True)
        nearest = order[at]
        nearer = distance[nearest] < distances[first]
        places[first[nearer]] = twin[nearest[nearer]]
        distances[first[nearer]] = distance[nearest[nearer]]
    return NearestTwins(places, np.where(places < 0, -1, distances))


def _near_hashes(
    queries: npt.NDArray[np.uint64],
    pool: npt.NDArray[np.uint64],
    query_labels: Places | None,
    pool_labels: Places | None,
) -> Iterator[tuple[Places, Places, Places]]:
    """Give places in both and the distance of all pairs with near hashes, in order, some at a time."""
    for start in range(0, len(queries), _BLOCK):
        block = queries[start : start + _BLOCK]
        distance = np.zeros((len(block), len(pool)), np.uint16)
        for word in range(queries.shape[1]):
            distance += np.bitwise_count(block[:, word, None] ^ pool[None, :, word])
        near = distance <= LARGEST_DISTANCE
        if query_labels is not None and pool_labels is not None:
            near &= query_labels[start : start + _BLOCK, None] != pool_labels[None, :]
        rows, columns = np.nonzero(near)
        for at in range(0, len(rows), _PAIRS):
            row, column = rows[at : at + _PAIRS], columns[at : at + _PAIRS]
            yield row + start, column, distance[row, column].astype(np.int64)


def _words(sketches: Sketches) -> npt.NDArray[np.uint64]:
    """(N, HASH_BYTES / 8): the hashes, to be compared 64 bits at a time."""
    return np.ascontiguousarray(sketches[:, :HASH_BYTES]).view(np.uint64)


def _thumbs(sketches: Sketches) -> npt.NDArray[np.float32]:
    """(N, pixels): thumbnails of zero mean and unit length, whose products are correlations; an even one is zero."""
    thumbs = sketches[:, HASH_BYTES:].astype(np.float32)
    thumbs -= thumbs.mean(axis=1, keepdims=True) if len(thumbs) else 0
    lengths = np.linalg.norm(thumbs, axis=1, keepdims=True)
    even = lengths < 1
    thumbs /= np.where(even, 1, lengths)
    return np.where(even, np.float32(0), thumbs)
