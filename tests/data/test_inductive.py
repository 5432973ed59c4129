"""What may be seen of a heterogeneous data set: hidden nodes, and features made from theirs."""

from dataclasses import replace

import pytest
import torch
from toy_hetero import hetero_dataset

import graphlearn as gl
from graphlearn.data.inductive import check_visible, derived_types, visible
from graphlearn.ops.rows import feature_rows

BY = ("author", "writes", "paper")


def leaky(rule="union", sparse=False):
    """The toy with features of authors that are made from those of their papers."""
    dataset = hetero_dataset()
    data = dataset.data.clone()
    source, target = data[BY].edge_index
    words = torch.zeros(24, 12).index_add_(0, source, data["paper"].x[target])
    count = torch.bincount(source, minlength=24).clamp(min=1).unsqueeze(1)
    data["author"].x = (words > 0).float() if rule == "union" else words / count
    if sparse:
        for kind in ("paper", "author"):
            data[kind].x = data[kind].x.to_sparse_csr()
    return replace(dataset, data=data)


def dense(x):
    rows = feature_rows(x)
    out = torch.zeros(rows.num_rows, rows.num_cols)
    out[rows.rows(), rows.col.long()] = rows.weight
    return out


def test_hidden_nodes_have_no_edges_and_no_features():
    dataset = hetero_dataset()
    splits = dataset.splits
    for split, later in (("train", ("valid", "test")), ("valid", ("test",)), ("test", ())):
        view = visible(dataset, split)
        hidden = {int(node) for name in later for node in splits[name]}
        assert set(view.hidden.tolist()) == hidden
        for kind, pairs in dataset.data.edge_index_dict.items():
            rows = [name == "paper" for name in (kind[0], kind[2])]
            stay = [
                pair
                for pair in pairs.T.tolist()
                if not any(own and node in hidden for own, node in zip(rows, pair, strict=True))
            ]
            assert view.edge_index[kind].T.tolist() == stay
        x = dense(view.x["paper"])
        assert not x[list(hidden)].any() if hidden else torch.equal(x, dataset.data["paper"].x)
        torch.testing.assert_close(view.x["author"], dataset.data["author"].x)
        assert "venue" not in view.x
        check_visible(dataset, view)


def test_nodes_of_no_split_stay():
    dataset = hetero_dataset()
    test = dataset.splits["test"]
    fewer = replace(dataset, splits={**dataset.splits, "test": test[1:]})
    view = visible(fewer, "train")
    assert int(test[0]) not in view.hidden.tolist()
    assert dense(view.x["paper"])[test[0]].any()


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("rule", ["union", "mean"])
def test_features_made_from_hidden_ones_are_made_again(rule, sparse):
    dataset = leaky(rule, sparse)
    (name, how), = derived_types(dataset).items()  # fmt: skip
    assert (name, how.source, how.rule) == ("author", "paper", rule)
    view = visible(dataset, "train")
    hidden = torch.zeros(60, dtype=torch.bool)
    hidden[view.hidden] = True
    author, paper = dataset.data[BY].edge_index
    words = dense(dataset.data["paper"].x)
    made = dense(view.x["author"])
    for node in range(24):
        seen = paper[(author == node) & ~hidden[paper]]
        rows = words[seen] if len(seen) else torch.zeros(1, 12)
        want = rows.max(0).values if rule == "union" else rows.mean(0)
        torch.testing.assert_close(made[node], want)
    check_visible(dataset, view)


@pytest.mark.parametrize("rule", ["union", "mean"])
def test_what_hidden_nodes_hold_changes_nothing(rule):
    one = leaky(rule)
    later = torch.cat([one.splits["valid"], one.splits["test"]])
    data = one.data.clone()
    data["paper"].x[later] = 1 - data["paper"].x[later]
    other = replace(one, data=data)
    source, target = data[BY].edge_index
    words = torch.zeros(24, 12).index_add_(0, source, data["paper"].x[target])
    count = torch.bincount(source, minlength=24).clamp(min=1).unsqueeze(1)
    data["author"].x = (words > 0).float() if rule == "union" else words / count
    views = [visible(dataset, "train") for dataset in (one, other)]
    for kind in ("paper", "author", "editor"):
        assert torch.equal(*(dense(view.x[kind]) for view in views)), kind


def test_a_chain_of_types_is_followed():
    dataset = leaky()
    data = dataset.data.clone()
    kind = ("author", "member", "club")
    data["club"].num_nodes = 4
    data[kind].edge_index = torch.stack([torch.arange(24), torch.arange(24) % 4])
    words = torch.zeros(4, 12).index_add_(0, torch.arange(24) % 4, data["author"].x)
    data["club"].x = (words > 0).float()
    dataset = replace(dataset, data=data)
    found = derived_types(dataset)
    assert list(found) == ["author", "club"] and found["club"].source == "author"
    view = visible(dataset, "train")
    made = dense(view.x["author"])
    want = torch.stack([made[group::4].max(0).values for group in range(4)])
    torch.testing.assert_close(dense(view.x["club"]), want)
    assert not torch.equal(want, data["club"].x)
    check_visible(dataset, view)


def test_without_recomputing_the_leak_is_named(caplog):
    dataset = leaky()
    view = visible(dataset, "train", recompute_neighbor_features=False)
    assert "features of author were made from those of hidden paper nodes as well" in caplog.text
    torch.testing.assert_close(view.x["author"], dataset.data["author"].x)
    with pytest.raises(ValueError, match="features of author hold more than those of the visible"):
        check_visible(dataset, view)


def test_leaks_are_found():
    dataset = hetero_dataset()
    view = visible(dataset, "train")
    node = int(view.hidden[0])
    edge = torch.tensor([[0], [node]])
    leak = view._replace(
        edge_index={**view.edge_index, BY: torch.cat([view.edge_index[BY], edge], 1)}
    )
    with pytest.raises(ValueError, match=f"author-writes-paper ends in the hidden paper {node}"):
        check_visible(dataset, leak)
    x = view.x["paper"].clone()
    x[node, 3] = 1.0
    with pytest.raises(ValueError, match=f"the hidden paper {node} has features"):
        check_visible(dataset, view._replace(x={**view.x, "paper": x}))


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "derived"),
    [
        ("acm-gtn", {"author": "union", "subject": "union"}),
        ("imdb", {"director": "mean", "actor": "mean"}),
        ("dblp-gtn", {}),
        ("dblp", {}),
    ],
)
def test_what_the_published_files_leak(name, derived, data_root):
    dataset = gl.load(name, root=data_root)
    assert {kind: how.rule for kind, how in derived_types(dataset).items()} == derived
    for split in ("train", "valid", "test"):
        check_visible(dataset, visible(dataset, split))
    view = visible(dataset, "train")
    assert len(view.hidden) == len(dataset.splits["valid"]) + len(dataset.splits["test"])
