"""Allocator settings: freed memory stays in the process, so that arrays of every period reuse it."""

from __future__ import annotations

import functools

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # glibc's mallopt parameters
_MOST, _LARGEST = 1 << 30, 1 << 25  # bytes; glibc takes no larger mmap threshold


@functools.cache
def keep_freed_memory() -> None:
    """Ask glibc not to hand freed arrays back to the system; elsewhere do nothing.

    A batch of worlds allocates the same large arrays in every period, and a tape those of the one before. By default
    glibc returns each to the system and gets it anew, page by page: up to half of the time of a period at 1,024 worlds
    (`make bench`), and two thirds of drawing worlds of `lost_sales`. Results do not change; the process may hold up to
    its peak until it ends.
    """
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # no glibc: macOS, Windows, musl
        return
    for parameter, value in ((_TRIM_THRESHOLD, _MOST), (_TOP_PAD, 1 << 26), (_MMAP_THRESHOLD, _LARGEST)):
        mallopt(parameter, value)
