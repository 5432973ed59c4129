"""How alike the rows of a matrix have become, for showing over-smoothing against depth."""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["smoothness"]


def smoothness(
    x: Float[Tensor, "node chan"],
    *,
    samples: int = 0,
    block: int = 1024,
    generator: torch.Generator | None = None,
) -> float:
    r"""Mean distance of the directions of two nodes: 1 if all are opposite, 0 if all are the same.

    .. math:: \mathrm{SMV} = \frac{1}{N (N - 1)} \sum_{i \ne j}
              \frac12 \left\| \frac{x_i}{\|x_i\|} - \frac{x_j}{\|x_j\|} \right\|

    A row of zeros has no direction and counts as the zero vector.

    Reference: Meng Liu, Hongyang Gao, Shuiwang Ji, "Towards Deeper Graph Neural Networks", KDD
    2020.

    Args:
        x: One row per node.
        samples: Number of random pairs to take the mean over; 0 takes all pairs, in time
            quadratic in the number of nodes.
        block: Rows that are compared with all others at a time; memory is `block` times nodes.
        generator: Draws the pairs; None is torch's own.

    Raises:
        ValueError: if there are fewer than two rows, or a number is negative.

    Example:
        >>> smoothness(torch.tensor([[1.0, 0.0], [-3.0, 0.0]]))
        1.0
    """
    size = len(x)
    if size < 2:
        raise ValueError(f"smoothness needs at least two rows, got {size}")
    if samples < 0 or block < 1:
        raise ValueError(
            f"samples must be at least 0 and block at least 1, got {samples} and {block}"
        )
    # Where all rows are nearly the same, 32 bits would see no difference.
    x = torch.nn.functional.normalize(x.detach().double(), dim=1)
    if samples:
        made_on = generator.device if generator else x.device
        i = torch.randint(size, (samples,), generator=generator, device=made_on).to(x.device)
        more = torch.randint(size - 1, (samples,), generator=generator, device=made_on)
        j = (i + 1 + more.to(x.device)) % size
        distance = (x[i] - x[j]).norm(dim=1)
        return float(distance.mean()) / 2
    total = 0.0
    for first in range(0, size, block):
        some = x[first : first + block]
        # By differences, since products lose half of the digits where rows are alike.
        distance = torch.cdist(some, x[first:], compute_mode="donot_use_mm_for_euclid_dist")
        within, beyond = distance[:, : len(some)], distance[:, len(some) :]
        total += float(within.sum(1).sum()) + 2 * float(beyond.sum(1).sum())
    return total / 2 / (size * (size - 1))
