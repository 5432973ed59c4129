import importlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import networkx as nx
import numpy as np
import pytest
import torch
from ogb_layouts import write_ogb
from torch_geometric.data import Data, TemporalData

import graphlearn.data
from graphlearn.data import DATASETS, load
from graphlearn.data.dataset import Dataset

EDGES = "".join(f"{k},{(k + step) % 30}\n" for k in range(30) for step in (1, 2))


@pytest.fixture
def csv(tmp_path):
    path = tmp_path / "toy.csv"
    path.write_text(EDGES)
    return path


def test_importing_loads_no_torch():
    code = "import sys, graphlearn.data as d; d.DATASETS; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    "dotted", sorted({loader for kinds in DATASETS.values() for loader in kinds.values()})
)
def test_every_loader_exists(dotted):
    module, _, function = dotted.partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_lazy_names():
    assert graphlearn.data.Dataset is Dataset
    assert set(graphlearn.data.__all__) <= set(dir(graphlearn.data)) | {"DATASETS", "load"}
    with pytest.raises(AttributeError, match=r"has no attribute 'Datset'; did you mean 'Dataset'"):
        _ = graphlearn.data.Datset


def test_by_name_in_any_case():
    assert load("StdLib").name == "stdlib"


def test_by_path(csv, tmp_path):
    assert load(csv).name == "toy" and load(str(csv), seed=3).facts["num_nodes"] == 30
    edge = np.loadtxt(csv, delimiter=",", dtype=np.int64)
    np.savez(tmp_path / "other.npz", edge=edge)
    assert torch.equal(
        load(tmp_path / "other.npz").splits["test"].pos, load(csv).splits["test"].pos
    )


def test_by_object():
    graph = nx.karate_club_graph()
    assert load(graph).facts["num_nodes"] == 34
    edge_index = torch.tensor(list(graph.edges)).T
    assert load(Data(edge_index=edge_index, num_nodes=34)).facts["num_nodes"] == 34
    with pytest.raises(TypeError, match=r"source must be a name, a path, .* got list"):
        load([1])


def test_options_reach_the_reader(csv, tmp_path):
    np.save(tmp_path / "x.npy", np.ones((31, 2), dtype=np.float32))
    dataset = load(csv, features=tmp_path / "x.npy", num_nodes=31, valid=0.2, protocol="random")
    assert dataset.facts == {"num_nodes": 31, "in_channels": 2, "num_ids": 0}
    assert dataset.splits["valid"].pos.shape[1] == 12


def test_options_nobody_uses_are_errors(csv):
    for option, value in (("min_year", 2007), ("trust_pickle", True), ("root", Path("/data"))):
        with pytest.raises(ValueError, match=rf"toy.csv has no use for {option}=.*; leave it out"):
            load(csv, **{option: value})
    with pytest.raises(ValueError, match=r"toy.csv has no use for undirected=True; leave it out"):
        load(csv, undirected=True)
    with pytest.raises(ValueError, match=r"imdb has no use for target=actor; leave it out"):
        load("imdb", target="actor")
    with pytest.raises(ValueError, match=r"stdlib has no use for num_nodes=3"):
        load("stdlib", num_nodes=3)
    with pytest.raises(ValueError, match=r"Graph has no use for num_nodes=3"):
        load(nx.karate_club_graph(), num_nodes=3)
    with pytest.raises(ValueError, match=r"ogbl-ddi has no use for valid=0.3"):
        load("ogbl-ddi", valid=0.3)
    with pytest.raises(ValueError, match=r"ogbl-ddi has no use for protocol=planetoid"):
        load("ogbl-ddi", protocol="planetoid")


def test_ogb_options(monkeypatch, tmp_path):
    seen = {}

    def load_ogb(name, root, *, trust_pickle=False, min_year=0):
        seen.update(name=name, root=root, trust_pickle=trust_pickle, min_year=min_year)
        return load("stdlib")

    monkeypatch.setattr("graphlearn.data.ogb.load_ogb", load_ogb)
    load("ogbl-collab", root=tmp_path, protocol="ogb", min_year=2010, seed=5)
    assert seen == {
        "name": "ogbl-collab",
        "root": tmp_path,
        "trust_pickle": False,
        "min_year": 2010,
    }


def test_root_comes_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("GRAPHLEARN_DATA", str(tmp_path))
    monkeypatch.setattr(
        "urllib.request.urlopen", lambda *a, **k: (_ for _ in ()).throw(OSError("off"))
    )
    with pytest.raises(FileNotFoundError, match=str(tmp_path / "planetoid" / "CiteSeer")):
        load("citeseer")


def test_hard_negatives(monkeypatch, csv):
    seeds = []

    def heart_split(dataset, *, seed=0):
        seeds.append(seed)
        return replace(dataset, metric="mrr")

    monkeypatch.setattr("graphlearn.data.heart.heart_split", heart_split)
    monkeypatch.setattr("graphlearn.data.pyg.load_planetoid", _fake_planetoid)
    assert load(csv, protocol="heart", seed=4).metric == "mrr"
    assert load("Cora", protocol="heart", seed=4).metric == "mrr"
    assert seeds == [4, 0]


def _fake_planetoid(name, root, *, seed=0, protocol="auto", valid=0.1, test=0.2):
    assert protocol == "heart"
    return load("stdlib")


def test_names_that_do_not_exist(tmp_path):
    with pytest.raises(KeyError, match=r"no data set 'coar'; did you mean 'cora'?"):
        load("coar")
    with pytest.raises(FileNotFoundError, match=r"no such file: .*none.csv"):
        load(tmp_path / "none.csv")
    with pytest.raises(ValueError, match=r"is a folder; expected a file that ends in .csv"):
        load(tmp_path)
    for name in ("a.xlsx", "b.npz.gz", "c.gz"):
        with pytest.raises(ValueError, match=r"has the suffix '.*'; expected a file that ends in"):
            load(tmp_path / name)


@pytest.mark.parametrize("name", ["a.pt", "a.pkl", "b.pickle", "b.pth", "c.pkl.gz"])
def test_pickles_of_users_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"cos\nsystem\n")
    with pytest.raises(ValueError, match=r"is refused, since reading a .* file can run code"):
        load(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("ogbl-ddi", "hits@20"),
        ("ogbl-collab", "hits@50"),
        ("ogbl-ppa", "hits@100"),
        ("ogbl-citation2", "mrr"),
        ("ogbl-vessel", "rocauc"),
        ("ogbl-wikikg2", "mrr"),
        ("ogbl-biokg", "mrr"),
    ],
)
def test_official_ogb_files_of_every_layout(tmp_path, name, metric):
    write_ogb(name, tmp_path)
    dataset = load(name, root=tmp_path)
    assert dataset.metric == metric and dataset.kind == "link"
    assert all(dataset.splits[split].pos.shape[1] > 0 for split in ("train", "valid", "test"))
    ends = dataset.data.edge_index
    assert int(ends.max()) < dataset.facts["num_nodes"]


EVENTS = "".join(f"{k % 7},{(3 * k + 1) % 11},{k}\n" for k in range(40))


def test_a_named_time_makes_events(csv, tmp_path):
    path = tmp_path / "events.csv"
    path.write_text("src,dst,time\n" + EVENTS)
    assert load(path).kind == "events" and load(path, kind="events").kind == "events"
    assert load(path, kind="link").kind == "link"
    path.write_text(EVENTS)
    assert load(path).kind == "link" and load(path, kind="events").kind == "events"
    assert load(csv).kind == "link"
    with pytest.raises(ValueError, match=r"toy.csv: an event needs source, .* got 2 columns"):
        load(csv, kind="events")
    with pytest.raises(
        ValueError, match=r"kind must be auto, link, node, hetero, events or interactions, got 'gr"
    ):
        getattr(load, "__wrapped__", load)(csv, kind="graph")


def test_archives_and_objects_of_events(tmp_path):
    src, dst, t = np.loadtxt(EVENTS.splitlines(), delimiter=",", dtype=np.int64).T
    np.savez(tmp_path / "toy.npz", src=src, dst=dst, t=t)
    found = load(tmp_path / "toy.npz", num_nodes=20)
    assert found.kind == "events" and found.facts["num_nodes"] == 20
    data = TemporalData(*map(torch.from_numpy, (src, dst, t)))
    assert load(data, protocol="transductive").kind == "events"


def test_options_of_events(tmp_path):
    path = tmp_path / "events.csv"
    path.write_text("src,dst,time\n" + EVENTS + "0,1,0\n")
    found = load(path, valid=0.2, test=0.2)
    assert [len(found.splits[part].events) for part in ("valid", "test")] == [8, 8]
    with pytest.raises(ValueError, match=r"line 42: time 0 comes after 39; sort the events"):
        load(path, strict=True)
    for option, value in (("min_year", 2007), ("trust_pickle", True)):
        with pytest.raises(ValueError, match=rf"events.csv has no use for {option}="):
            load(path, **{option: value})
    for protocol in ("random", "heart", "planetoid"):
        with pytest.raises(ValueError, match=r"protocol must be auto, transductive, inductive or"):
            load(path, protocol=protocol)


def test_options_of_events_mean_nothing_to_a_graph(csv):
    for option, value in (("strict", True), ("replay", "reference")):
        with pytest.raises(ValueError, match=rf"toy.csv has no use for {option}="):
            load(csv, **{option: value})
    with pytest.raises(ValueError, match=r"protocol must be auto, .* got 'inductive'"):
        load(csv, protocol="inductive")


def test_a_kind_that_a_source_is_not():
    message = r"robust_cora is a graph for node classification, kind='link' does not apply"
    with pytest.raises(ValueError, match=message):
        load("robust_cora", kind="link")
    with pytest.raises(ValueError, match=r"ogbl-ddi is a graph without classes, kind='node' does"):
        load("ogbl-ddi", kind="node")
    with pytest.raises(ValueError, match=r"collegemsg is a stream of events, kind='node' does not"):
        load("collegemsg", kind="node")
    with pytest.raises(ValueError, match=r"stdlib is a graph, kind='events' does not apply"):
        load("stdlib", kind="events")
    with pytest.raises(ValueError, match=r"Graph is a graph, kind='events' does not apply"):
        load(nx.karate_club_graph(), kind="events")
    with pytest.raises(ValueError, match=r"synthetic-events is a stream of events, kind='link'"):
        load("synthetic-events", kind="link")
    ends = torch.arange(20)
    with pytest.raises(ValueError, match=r"TemporalData is a stream of events, kind='link'"):
        load(TemporalData(src=ends, dst=ends, t=ends), kind="link")


def test_streams_by_name(monkeypatch, tmp_path):
    assert load("Synthetic-Events", protocol="new-node", kind="events").name == "synthetic-events"
    monkeypatch.setenv("GRAPHLEARN_DATA", str(tmp_path))
    for name in ("collegemsg", "reddit"):
        with pytest.raises(FileNotFoundError, match=rf"{tmp_path}.*snap.stanford.edu"):
            load(name)


def test_a_name_may_serve_links_and_nodes():
    assert load("stdlib").kind == load("stdlib", kind="link").kind == "link"
    nodes = load("stdlib", kind="node", protocol="stratified", valid=0.2, test=0.2)
    assert nodes.kind == "node" and len(nodes.splits["train"]) > 2 * len(nodes.splits["test"])
    assert list(DATASETS["cora"]) == ["link", "node"]  # the first one is the usual one


def test_labels_make_a_table_a_data_set_of_nodes(csv, tmp_path):
    labels = tmp_path / "labels.csv"
    labels.write_text("node,label\n" + "".join(f"{k},{k % 2}\n" for k in range(30)))
    found = load(csv, labels=labels)
    assert found.kind == "node" and found.data.y.tolist() == [0, 1] * 15
    assert load(csv, labels=labels, kind="node", seed=1).splits["test"].tolist() != (
        found.splits["test"].tolist()
    )
    with pytest.raises(ValueError, match=r"toy.csv needs the classes of its nodes: labels="):
        load(csv, kind="node")
    with pytest.raises(ValueError, match=r"toy.csv has no use for labels=.*labels.csv; leave it"):
        load(csv, labels=labels, kind="link")
    with pytest.raises(ValueError, match=r"stdlib has no use for labels="):
        load("stdlib", labels=labels)
    with pytest.raises(ValueError, match=r"toy.csv has no use for min_year=2007"):
        load(csv, labels=labels, min_year=2007)


def test_objects_and_archives_of_nodes(csv, tmp_path):
    graph = nx.karate_club_graph()
    nx.set_node_attributes(graph, {v: graph.nodes[v]["club"] for v in graph}, "label")
    assert load(graph).kind == "link"
    assert load(graph, kind="node").classes == ["Mr. Hi", "Officer"]
    edge = np.loadtxt(csv, delimiter=",", dtype=np.int64)
    y = np.arange(30) % 3
    found = load(Data(edge_index=torch.from_numpy(edge.T), y=torch.from_numpy(y)), kind="node")
    assert found.facts["out_channels"] == 3
    np.savez(tmp_path / "club.npz", edge=edge, y=y)
    stored = load(tmp_path / "club.npz", kind="node")
    assert torch.equal(stored.splits["test"], found.splits["test"])


def test_attacks_are_only_for_nodes(csv):
    with pytest.raises(ValueError, match=r"toy.csv has no use for rate=0.1; leave it out"):
        load(csv, rate=0.1)
    with pytest.raises(ValueError, match=r"stdlib has no use for attack=dice; leave it out"):
        load("stdlib", attack="dice", rate=0.1)
    message = r"stdlib has no stored graphs of the attack 'meta'; choose attack='random' or 'dice'"
    with pytest.raises(ValueError, match=message):
        load("stdlib", kind="node", rate=0.1)


def test_an_attack_is_made_on_the_spot(monkeypatch):
    seen = []

    class Attack:
        def __init__(self, mode="add"):
            self.mode = mode

        def attack(self, data, budget, *, seed=0):
            seen.append((type(self).__name__, budget, seed))
            return SimpleNamespace(edge_index=torch.tensor([[0, 1], [1, 0]]))

    names = {"RandomAttack": Attack, "DICEAttack": type("DICEAttack", (Attack,), {})}
    monkeypatch.setitem(sys.modules, "graphlearn.attacks", SimpleNamespace(**names))
    clean = load("stdlib", kind="node")
    for attack in ("random", "dice"):
        found = load("stdlib", kind="node", attack=attack, rate=0.2, seed=3)
        assert found.data.edge_index.tolist() == [[0, 1], [1, 0]]
        assert torch.equal(found.data.clean_edge_index, clean.data.edge_index)
    assert seen == [("Attack", 0.2, 3), ("DICEAttack", 0.2, 3)]
    untouched = load("stdlib", kind="node", attack="random")
    assert torch.equal(untouched.data.edge_index, clean.data.edge_index) and len(seen) == 2
