"""The numeric fixture of the published NCN and NCNC, and the names of its parameters here."""

import re
from pathlib import Path

import numpy as np
import torch

from graphlearn.ops.csr import CSR

__all__ = ["Golden", "encoder_name", "predictor_name"]

_BLOCKS = {
    "xlin": ("f_x", {"0": "0", "3": "2", "4": "3"}),
    "xcnlin": ("f_cn", {"0": "0", "3": "2", "4": "3", "7": "5"}),
    "xijlin": ("f_ij", {"0": "0", "1": "1", "4": "3"}),
}


def encoder_name(name: str) -> str:
    """Published name of an encoder parameter -> ours."""
    if name == "jkparams":
        return "jk"
    return re.sub(r"lins\.(\d)\.0\.", r"post.\1.0.", name.replace("xemb.1.", "input."))


def predictor_name(name: str, *, two_layer: bool) -> str:
    """Published name of a predictor parameter -> ours; positions skip what has no weights."""
    if "." not in name:
        return name
    block, index, kind = name.split(".")
    if block == "lin":
        last = "6" if two_layer else "3"
        return f"f_out.{ {'0': '0', '1': '1', '4': '3', '5': '4', '8': last}[index] }.{kind}"
    ours, places = _BLOCKS[block]
    return f"{ours}.{places[index]}.{kind}"


class Golden:
    """Inputs, weights and outputs of the published code on the USAir graph."""

    def __init__(self, root: Path) -> None:
        self.arrays = np.load(root / "ncn_golden" / "ncn_golden.npz", allow_pickle=False)
        nodes = int(self.arrays["num_nodes"])
        self.graph = CSR.from_edge_index(self["edges"].t(), nodes, undirected=True)
        self.pairs = self["targets"].t()

    def __getitem__(self, key: str) -> torch.Tensor:
        value = torch.from_numpy(np.array(self.arrays[key]))
        return value if value.is_floating_point() else value.long()

    def weights(self, prefix: str) -> dict[str, torch.Tensor]:
        """All parameters under a prefix, by their published name."""
        fixed = re.compile(r"(alpha|pt|scale|offset|ratio)$")
        start = f"{prefix}__p__"
        return {
            key[len(start) :]: self[key]
            for key in self.arrays.files
            if key.startswith(start) and not fixed.search(key)
        }

    def check_predictor(self, model: torch.nn.Module, name: str, output: str) -> None:
        """With the published weights, `model` gives the published output."""
        two = len(model.f_out) > 4
        weights = {
            predictor_name(key, two_layer=two): value
            for key, value in self.weights(f"pred_{name}").items()
        }
        missing, unexpected = model.load_state_dict(weights, strict=False)
        assert not unexpected and all(key.startswith("encoder.") for key in missing)
        with torch.no_grad():
            out = model.score(model._terms(self["h"]), self.graph, self.pairs)
        torch.testing.assert_close(out, self[f"pred_{name}__{output}"], rtol=0, atol=1e-4)
