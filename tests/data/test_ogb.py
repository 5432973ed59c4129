import logging

import numpy as np
import pytest
import torch
from ogb_layouts import CANDIDATES, EVAL, KINDS, NEG, NODES, TRAIN, save_like_numpy_1, write_ogb

from graphlearn.data import ogb
from graphlearn.data.ogb import convert_ogb, load_ogb
from graphlearn.data.ogb_arrays import OGB_LINKS


@pytest.fixture
def make(tmp_path):
    """Write a set and load it."""

    def build(name, **options):
        truth = write_ogb(name, tmp_path)
        return truth, load_ogb(name, tmp_path, **options)

    return build


def same(tensor, array):
    return torch.equal(tensor, torch.as_tensor(np.asarray(array)))


def check_edges(dataset, pos):
    for split, part in pos.items():
        assert same(dataset.splits[split].pos, part)
    train = torch.as_tensor(pos["train"])
    assert torch.equal(dataset.data.edge_index, torch.cat([train, train.flip(0)], 1))
    assert dataset.data.num_nodes == dataset.facts["num_nodes"] == NODES
    assert dataset.kind == "link"


@pytest.mark.parametrize("name", sorted(OGB_LINKS))
def test_second_reading_comes_from_the_npz_and_is_the_same(name, tmp_path, make, monkeypatch):
    _, first = make(name)
    assert first.name == name and first.metric == OGB_LINKS[name].metric
    folder = tmp_path / name.replace("-", "_")
    assert (folder / f"{folder.name}.npz").is_file()
    monkeypatch.setattr(ogb, "official", None)
    again = load_ogb(name, tmp_path)
    assert again.facts == first.facts
    assert set(again.data.keys()) == set(first.data.keys())
    for key, value in first.data:
        assert (
            value == again.data[key] if key == "num_nodes" else torch.equal(value, again.data[key])
        )
    for split, part in first.splits.items():
        other = again.splits[split]
        assert torch.equal(part.pos, other.pos)
        assert (part.neg is None) == (other.neg is None)
        assert part.neg is None or torch.equal(part.neg, other.neg)
        assert {k: v.tolist() for k, v in part.attributes.items()} == {
            k: v.tolist() for k, v in other.attributes.items()
        }


def test_reading_is_silent(capfd, make):
    make("ogbl-collab")
    assert capfd.readouterr() == ("", "")


def test_ddi(make):
    truth, dataset = make("ogbl-ddi")
    check_edges(dataset, {split: part["edge"].T for split, part in truth.items()})
    assert dataset.metric == "hits@20"
    assert dataset.data.x is None
    assert dataset.facts == {"num_nodes": NODES, "in_channels": 0, "num_ids": NODES}
    assert dataset.splits["train"].neg is None
    assert same(dataset.splits["valid"].neg, truth["valid"]["edge_neg"].T)
    assert dataset.splits["test"].neg.shape == (2, NEG)


def test_ppa_species_become_ids(tmp_path, make):
    truth, dataset = make("ogbl-ppa")
    check_edges(dataset, {split: part["edge"].T for split, part in truth.items()})
    assert dataset.facts == {"num_nodes": NODES, "in_channels": 0, "num_ids": 58}
    onehot = np.loadtxt(tmp_path / "ogbl_ppa" / "raw" / "node-feat.csv.gz", delimiter=",")
    assert same(dataset.data.x, onehot.argmax(1))


def test_collab(make):
    truth, dataset = make("ogbl-collab")
    check_edges(dataset, {split: part["edge"].T for split, part in truth.items()})
    assert dataset.facts == {"num_nodes": NODES, "in_channels": 4, "num_ids": 0}
    assert dataset.data.x.shape == (NODES, 4) and dataset.data.x.dtype == torch.float32
    for split, part in truth.items():
        for key in ("weight", "year"):
            assert same(dataset.splits[split].attributes[key], part[key])


def test_collab_since_a_year(make):
    truth, dataset = make("ogbl-collab", min_year=2010)
    keep = truth["train"]["year"] >= 2010
    assert 0 < keep.sum() < TRAIN
    train = dataset.splits["train"]
    assert same(train.pos, truth["train"]["edge"][keep].T)
    assert same(train.attributes["weight"], truth["train"]["weight"][keep])
    assert dataset.data.edge_index.shape[1] == 2 * keep.sum()
    assert dataset.splits["valid"].pos.shape[1] == EVAL


def test_year_that_no_set_can_offer(tmp_path, make):
    with pytest.raises(ValueError, match="min_year needs edges with years, which ogbl-ddi"):
        make("ogbl-ddi", min_year=2010)
    with pytest.raises(ValueError, match="min_year=2050 leaves no training edge; the last year is"):
        make("ogbl-collab", min_year=2050)


def test_citation2_has_candidates_for_each_pair(make):
    truth, dataset = make("ogbl-citation2")
    pos = {s: np.stack([p["source_node"], p["target_node"]]) for s, p in truth.items()}
    check_edges(dataset, pos)
    neg = dataset.splits["valid"].neg
    assert neg.shape == (2, EVAL, CANDIDATES)
    assert same(neg[1], truth["valid"]["target_node_neg"])
    assert same(neg[0], np.repeat(truth["valid"]["source_node"][:, None], CANDIDATES, 1))
    assert dataset.data.node_year.shape == (NODES,)
    assert dataset.facts["in_channels"] == 4


def test_vessel(make):
    truth, dataset = make("ogbl-vessel")
    check_edges(dataset, {split: part["edge"].T for split, part in truth.items()})
    assert dataset.metric == "rocauc"
    assert dataset.facts["in_channels"] == 3
    for split, part in truth.items():
        assert same(dataset.splits[split].neg, part["edge_neg"].T)


def test_wikikg2(make):
    truth, dataset = make("ogbl-wikikg2")
    check_edges(dataset, {s: np.stack([p["head"], p["tail"]]) for s, p in truth.items()})
    for split, part in truth.items():
        assert dataset.splits[split].neg is None
        expected = {"relation"} if split == "train" else {"relation", "head_neg", "tail_neg"}
        assert set(dataset.splits[split].attributes) == expected
        for key, values in dataset.splits[split].attributes.items():
            assert same(values, part[key])
    assert dataset.facts["num_relations"] == 7
    assert dataset.facts["num_ids"] == NODES


def test_biokg_ids_are_global(make):
    truth, dataset = make("ogbl-biokg")
    first = dict(zip(KINDS, np.cumsum([0, *KINDS.values()]), strict=False))
    pos = {}
    for split, part in truth.items():
        head = np.array([first[kind] for kind in part["head_type"]])
        tail = np.array([first[kind] for kind in part["tail_type"]])
        pos[split] = np.stack([part["head"] + head, part["tail"] + tail])
        if split != "train":
            attributes = dataset.splits[split].attributes
            assert same(attributes["head_neg"], part["head_neg"] + head[:, None])
            assert same(attributes["tail_neg"], part["tail_neg"] + tail[:, None])
    check_edges(dataset, pos)
    assert dataset.facts["node_types"] == tuple(KINDS)
    kinds = dataset.data.node_type
    assert kinds.bincount().tolist() == list(KINDS.values())
    valid = dataset.splits["valid"]
    assert (kinds[valid.attributes["head_neg"]] == kinds[valid.pos[0]][:, None]).all()


def test_npz_follows_changed_raw_files(tmp_path, make):
    make("ogbl-ddi")
    path = tmp_path / "ogbl_ddi" / "split" / "target" / "train.pt"
    save_like_numpy_1({"edge": np.array([[0, 1], [2, 3], [4, 5]])}, path)
    assert load_ogb("ogbl-ddi", tmp_path).splits["train"].pos.tolist() == [[0, 2, 4], [1, 3, 5]]


def test_npz_of_the_user_is_never_replaced(tmp_path, make):
    make("ogbl-ddi")
    path = tmp_path / "ogbl_ddi" / "ogbl_ddi.npz"
    with np.load(path) as archive:
        arrays = {key: archive[key] for key in archive.files if key != "source"}
    arrays["train_edge"] = np.array([[0, 1]])
    np.savez(path, **arrays)
    before = path.read_bytes()
    assert load_ogb("ogbl-ddi", tmp_path).splits["train"].pos.tolist() == [[0], [1]]
    with pytest.raises(FileExistsError, match="was not made from raw files; move it away"):
        convert_ogb("ogbl-ddi", tmp_path)
    assert path.read_bytes() == before


def test_read_only_folder_still_loads(tmp_path, monkeypatch, caplog):
    write_ogb("ogbl-ddi", tmp_path)

    def refuse(path, arrays):
        raise PermissionError(f"cannot write {path}")

    monkeypatch.setattr(ogb, "write_npz", refuse)
    with caplog.at_level(logging.INFO):
        dataset = load_ogb("ogbl-ddi", tmp_path)
    assert dataset.splits["train"].pos.shape == (2, TRAIN)
    assert "ogbl_ddi.npz is not kept: cannot write" in caplog.text


def test_convert_into_another_root(tmp_path, make):
    _, expected = make("ogbl-citation2")
    path = convert_ogb("ogbl-citation2", tmp_path, out=tmp_path / "other")
    assert path == tmp_path / "other" / "ogbl_citation2" / "ogbl_citation2.npz"
    again = load_ogb("ogbl-citation2", tmp_path / "other")
    assert torch.equal(again.splits["test"].neg, expected.splits["test"].neg)


def test_missing_set_says_where_to_get_it(tmp_path):
    with pytest.raises(
        FileNotFoundError,
        match=r"no ogbl-collab in .*ogbl_collab: expected .*raw/"
        r" and split/ there, or ogbl_collab.npz; get it from https://ogb.*collab",
    ):
        load_ogb("ogbl-collab", tmp_path)


def test_unknown_set(tmp_path):
    with pytest.raises(
        ValueError, match=r"no OGB link data set 'ogbl-dd'.*; did you mean 'ogbl-ddi'"
    ):
        load_ogb("ogbl-dd", tmp_path)


def test_npz_of_another_shape(tmp_path):
    (tmp_path / "ogbl_ddi").mkdir()
    np.savez(tmp_path / "ogbl_ddi" / "ogbl_ddi.npz", num_nodes=3, train_edge=np.zeros((1, 2), int))
    with pytest.raises(ValueError, match="ogbl-ddi lacks 'valid_edge'; expected num_nodes, train"):
        load_ogb("ogbl-ddi", tmp_path)


@pytest.mark.data
def test_counts_of_the_real_ddi(data_root):
    dataset = load_ogb("ogbl-ddi", data_root)
    published = OGB_LINKS["ogbl-ddi"].published
    sizes = [dataset.splits[split].pos.shape[1] for split in ("train", "valid", "test")]
    assert sizes == [published.train, published.valid, published.test]
    assert sum(sizes) == published.edges
    assert dataset.facts["num_nodes"] == published.nodes
    assert dataset.splits["valid"].neg.shape == (2, 101_882)
    assert dataset.splits["test"].neg.shape == (2, 95_599)
    keys = [part.pos.sort(0).values for part in dataset.splits.values()]
    pairs = torch.cat([key[0] * 4267 + key[1] for key in keys])
    assert len(pairs.unique()) == published.edges
    degree = dataset.data.edge_index[0].bincount()
    assert degree.max() == 2234 and round(degree.float().mean().item(), 1) == 500.5
