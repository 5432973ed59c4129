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
    from graphlearn.models.hetero_baselines import HeteroBaseline as HeteroBaseline
    from graphlearn.models.latte import LATTE as LATTE
    from graphlearn.models.latte_conv import LATTEConv as LATTEConv
    from graphlearn.models.lightgcn import LightGCN as LightGCN
    from graphlearn.models.mf import MF as MF
    from graphlearn.models.nat import NAT as NAT
    from graphlearn.models.ncn import NCN as NCN
    from graphlearn.models.ncnc import NCNC as NCNC
    from graphlearn.models.ngcf import NGCF as NGCF
    from graphlearn.models.node_baselines import NodeBaseline as NodeBaseline
    from graphlearn.models.purification import Purification as Purification
    from graphlearn.models.purification import purify as purify
    from graphlearn.models.recommend_baselines import EASE as EASE
    from graphlearn.models.recommend_baselines import ItemKNN as ItemKNN
    from graphlearn.models.recommend_baselines import Popularity as Popularity
    from graphlearn.models.sheaf import SheafConv as SheafConv
    from graphlearn.models.sheaf import SheafRecommender as SheafRecommender
    from graphlearn.models.sheaf_link import SheafLink as SheafLink
    from graphlearn.models.stable import STABLE as STABLE
    from graphlearn.models.stable import preset as preset
    from graphlearn.models.tgn import TGN as TGN

__all__ = [
    "DAGNN",
    "EASE",
    "GAE",
    "GCN",
    "GCNSVD",
    "LATTE",
    "MF",
    "NAT",
    "NCN",
    "NCNC",
    "NGCF",
    "STABLE",
    "TGN",
    "DAProp",
    "EdgeBank",
    "GCNJaccard",
    "HeteroBaseline",
    "Heuristic",
    "ItemKNN",
    "LATTEConv",
    "LightGCN",
    "NodeBaseline",
    "Popularity",
    "Purification",
    "SheafConv",
    "SheafLink",
    "SheafRecommender",
    "preset",
    "purify",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "DAGNN": "graphlearn.models.dagnn:DAGNN",
        "DAProp": "graphlearn.models.dagnn:DAProp",
        "EASE": "graphlearn.models.recommend_baselines:EASE",
        "EdgeBank": "graphlearn.models.edgebank:EdgeBank",
        "GAE": "graphlearn.models.baselines:GAE",
        "GCN": "graphlearn.models.gcn:GCN",
        "GCNJaccard": "graphlearn.models.gcn:GCNJaccard",
        "GCNSVD": "graphlearn.models.gcn:GCNSVD",
        "HeteroBaseline": "graphlearn.models.hetero_baselines:HeteroBaseline",
        "Heuristic": "graphlearn.models.baselines:Heuristic",
        "ItemKNN": "graphlearn.models.recommend_baselines:ItemKNN",
        "LATTE": "graphlearn.models.latte:LATTE",
        "LATTEConv": "graphlearn.models.latte_conv:LATTEConv",
        "LightGCN": "graphlearn.models.lightgcn:LightGCN",
        "MF": "graphlearn.models.mf:MF",
        "NAT": "graphlearn.models.nat:NAT",
        "NCN": "graphlearn.models.ncn:NCN",
        "NCNC": "graphlearn.models.ncnc:NCNC",
        "NGCF": "graphlearn.models.ngcf:NGCF",
        "NodeBaseline": "graphlearn.models.node_baselines:NodeBaseline",
        "Popularity": "graphlearn.models.recommend_baselines:Popularity",
        "Purification": "graphlearn.models.purification:Purification",
        "STABLE": "graphlearn.models.stable:STABLE",
        "SheafConv": "graphlearn.models.sheaf:SheafConv",
        "SheafLink": "graphlearn.models.sheaf_link:SheafLink",
        "SheafRecommender": "graphlearn.models.sheaf:SheafRecommender",
        "TGN": "graphlearn.models.tgn:TGN",
        "preset": "graphlearn.models.stable:preset",
        "purify": "graphlearn.models.purification:purify",
    },
)
