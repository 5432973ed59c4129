"""Models: one paper, one file; from tensors to tensors."""

from typing import TYPE_CHECKING

from graphlearn.extras import lazy

if TYPE_CHECKING:
    from graphlearn.models.baselines import GAE as GAE
    from graphlearn.models.baselines import Heuristic as Heuristic
    from graphlearn.models.nat import NAT as NAT
    from graphlearn.models.ncn import NCN as NCN
    from graphlearn.models.ncnc import NCNC as NCNC

__all__ = ["GAE", "NAT", "NCN", "NCNC", "Heuristic"]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "GAE": "graphlearn.models.baselines:GAE",
        "Heuristic": "graphlearn.models.baselines:Heuristic",
        "NAT": "graphlearn.models.nat:NAT",
        "NCN": "graphlearn.models.ncn:NCN",
        "NCNC": "graphlearn.models.ncnc:NCNC",
    },
)
