"""Finished runs, as the trainer leaves them."""

import json

from graphlearn.recipe import Recipe, dump, find
from graphlearn.runs import folder_of

__all__ = ["several", "write"]


def write(out, name, seed, value, dataset="Cora", epochs=3, rate=0.0, attack="meta"):
    """A finished run, as the trainer leaves it."""
    recipe = find(name, dataset)
    values = {
        **recipe.values,
        "data": {**recipe.values.get("data", {}), "rate": rate, "attack": attack},
    }
    recipe = Recipe(**{**vars(recipe), "values": values, "seed": seed, "fallback": False})
    folder = folder_of(recipe, seed, out)
    folder.mkdir(parents=True)
    (folder / "recipe.toml").write_text(dump(recipe))
    result = {"seed": seed, "monitor": "hits@100", "test": {"hits@100": value, "auc": 0.9}}
    (folder / "result.json").write_text(json.dumps({**result, "valid": {"hits@100": value}}))
    if epochs:
        rows = [f"0,{e},{1 / e},{value * e / epochs},0.1" for e in range(1, epochs + 1)]
        text = "\n".join(["stage,epoch,loss,valid/hits@100,seconds", *rows, "0,9,0.1"])
        (folder / "metrics.csv").write_text(text)
    return folder


def several(out):
    """Three recipes on two data sets, one of them with two seeds."""
    for seed, value in enumerate((0.90, 0.88)):
        write(out, "ncn", seed, value)
    write(out, "cn", 0, 0.33, epochs=0)
    write(out, "gcn", 0, 0.05, dataset="toy")
    return out
