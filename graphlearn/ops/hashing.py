r"""Where a key goes in a row of slots, and whether it may push out another: pure functions.

All arithmetic is on unsigned 32-bit words, here held in int64. The mixer is `lowbias32`,

.. math:: x \oplus= x \gg 16,\; x \cdot= \mathrm{7feb352d}_{16},\; x \oplus= x \gg 15,\;
          x \cdot= \mathrm{846ca68b}_{16},\; x \oplus= x \gg 16.

Reference: Chris Wellons, "Prospecting for Hash Functions", 2018.
"""

from typing import Literal

from jaxtyping import Int
from torch import Tensor

__all__ = ["Hash", "accept_below", "key_of", "lowbias32", "mixed", "slots_of", "words"]

Hash = Literal["mix", "quadratic"]
_WORD = 0xFFFFFFFF


def lowbias32(x: int) -> int:
    """The mixer for one word, on the host.

    Args:
        x: A word; higher bits are cut off.
    """
    x &= _WORD
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & _WORD
    x = ((x ^ (x >> 15)) * 0x846CA68B) & _WORD
    return x ^ (x >> 16)


def words(x: Int[Tensor, "..."]) -> Int[Tensor, "..."]:
    """The mixer for words in int64.

    Args:
        x: Words in [0, 2^32).
    """
    # int64 products wrap, which leaves their low 32 bits right.
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & _WORD
    x = ((x ^ (x >> 15)) * 0x846CA68B) & _WORD
    return x ^ (x >> 16)


def key_of(seed: int, hop: int) -> int:
    """What the hash of a hop adds to the key; the same in every kernel.

    Args:
        seed: Seed of the cache.
        hop: 1 or 2.
    """
    return lowbias32((seed & _WORD) ^ hop)


def slots_of(
    ids: Int[Tensor, "..."], slots: int, *, hop: int, seed: int, hash: Hash = "mix"
) -> Int[Tensor, "..."]:
    r"""The only slot in which a node may lie, in rows of a hop.

    `mix`: :math:`(\mathrm{lowbias32}((w + 1) \oplus h_k) \cdot M_k) \gg 32`. `quadratic`, the
    published form, :math:`(n s + n^2 (s + 1)) \bmod M_k` with n = w + 1 and s = seed mod 100: for
    even s and M a power of two it reaches a quarter of the slots only.

    Args:
        ids: Node ids w.
        slots: Slots of a row.
        hop: 1 or 2.
        seed: Seed of the cache.
        hash: Which function.
    """
    n = ids.long() + 1
    if hash == "quadratic":
        s = seed % 100
        return (n * s + n * n * (s + 1)) % slots
    return (words((n & _WORD) ^ key_of(seed, hop)) * slots) >> 32


def mixed(position: Int[Tensor, "..."], batch_no: Tensor, *, hop: int, seed: int) -> Tensor:
    r"""The random word of each candidate of a batch.

    .. math:: r = \ell(p \oplus \ell(\ell(\ell(seed) \oplus batch) \oplus hop)),
              \quad \ell = \mathrm{lowbias32}

    Args:
        position: Rank p of each candidate in its batch.
        batch_no: Commits so far, ().
        hop: 1 or 2.
        seed: Seed of the cache.
    """
    stream = words(words((batch_no & _WORD) ^ lowbias32(seed)) ^ hop)
    return words((position & _WORD) ^ stream)


def accept_below(alpha: float) -> int:
    """The bound below which a random word lets a candidate replace another key.

    Args:
        alpha: Probability of replacement.

    Raises:
        ValueError: if it lies outside [0, 1].
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must lie in [0, 1], got {alpha}")
    return int(alpha * 2**32 + 0.5)
