"""Threads that keep the order and hold only a few results at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def ordered(work: Callable[[A], B], jobs: Iterable[A], workers: int = 2) -> Iterator[B]:
    """`map(work, jobs)` on `workers` threads; at most 4 results per thread wait to be taken.

    The first exception ends the iteration; work not yet begun is dropped, also on Ctrl-C.
    """
    if workers <= 1:
        yield from map(work, jobs)
        return
    pool = ThreadPoolExecutor(workers)
    waiting: deque[Future[B]] = deque()
    try:
        for job in jobs:
            waiting.append(pool.submit(work, job))
            if len(waiting) >= 4 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
