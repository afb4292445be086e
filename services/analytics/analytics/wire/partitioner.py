"""Which partition a key belongs to, as Kafka's Java client decides it."""

from __future__ import annotations

_M = 0x5BD1E995
_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """MurmurHash2 with 32 bits and Kafka's seed, as a signed number."""
    h = 0x9747B28C ^ len(data)
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * _M & _MASK
        k ^= k >> 24
        h = (h * _M & _MASK) ^ (k * _M & _MASK)
    if len(data) > whole:
        h ^= int.from_bytes(data[whole:], "little")
        h = h * _M & _MASK
    h ^= h >> 13
    h = h * _M & _MASK
    h ^= h >> 15
    return h - 2**32 if h >= 2**31 else h


def partition(key: bytes, count: int) -> int:
    """The partition of `key` in a topic of `count` partitions."""
    return (murmur2(key) & 0x7FFFFFFF) % count
