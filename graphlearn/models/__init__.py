"""Models: one paper, one file; from tensors to tensors."""

from typing import TYPE_CHECKING

from graphlearn.extras import lazy

if TYPE_CHECKING:
    from graphlearn.models.baselines import GAE as GAE
    from graphlearn.models.baselines import Heuristic as Heuristic
    from graphlearn.models.dagnn import DAGNN as DAGNN
    from graphlearn.models.dagnn import DAProp as DAProp
    from graphlearn.models.edgebank import EdgeBank as EdgeBank
    from graphlearn.models.gcn import GCN as GCN
    from graphlearn.models.gcn import GCNSVD as GCNSVD
    from graphlearn.models.gcn import GCNJaccard as GCNJaccard
    from graphlearn.models.nat import NAT as NAT
    from graphlearn.models.ncn import NCN as NCN
    from graphlearn.models.ncnc import NCNC as NCNC
    from graphlearn.models.purify import Purification as Purification
    from graphlearn.models.purify import purify as purify
    from graphlearn.models.stable import STABLE as STABLE
    from graphlearn.models.stable import preset as preset
    from graphlearn.models.tgn import TGN as TGN

__all__ = [
    "DAGNN",
    "GAE",
    "NAT",
    "NCN",
    "NCNC",
    "STABLE",
    "TGN",
    "DAProp",
    "EdgeBank",
    "Heuristic",
    "Purification",
    "preset",
    "purify",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "DAGNN": "graphlearn.models.dagnn:DAGNN",
        "DAProp": "graphlearn.models.dagnn:DAProp",
        "EdgeBank": "graphlearn.models.edgebank:EdgeBank",
        "GCN": "graphlearn.models.gcn:GCN",
        "GCNJaccard": "graphlearn.models.gcn:GCNJaccard",
        "GCNSVD": "graphlearn.models.gcn:GCNSVD",
        "GAE": "graphlearn.models.baselines:GAE",
        "Heuristic": "graphlearn.models.baselines:Heuristic",
        "NAT": "graphlearn.models.nat:NAT",
        "NCN": "graphlearn.models.ncn:NCN",
        "NCNC": "graphlearn.models.ncnc:NCNC",
        "Purification": "graphlearn.models.purify:Purification",
        "STABLE": "graphlearn.models.stable:STABLE",
        "TGN": "graphlearn.models.tgn:TGN",
        "preset": "graphlearn.models.stable:preset",
        "purify": "graphlearn.models.purify:purify",
    },
)
