import pytest

from graphlearn.data.snap import load_events, load_jodie

COUNTS = {
    "collegemsg": (59_835, 1_899, 58_911, (41_884, 8_975, 8_976)),
    "jodie-wikipedia": (157_474, 9_227, 152_757, (110_232, 23_621, 23_621)),
    "bitcoin-alpha": (24_186, 3_783, 1_647, (16_940, 3_628, 3_618)),
}


@pytest.mark.data
@pytest.mark.parametrize("name", COUNTS)
def test_published_counts(name, data_root):
    events, nodes, times, sizes = COUNTS[name]
    found = load_events(name, data_root)
    data, splits = found.data, found.splits
    assert found.name == name
    assert (found.facts["num_events"], found.facts["num_nodes"]) == (events, nodes)
    assert len(data.t.unique()) == times
    assert tuple(len(splits[part].events) for part in ("train", "valid", "test")) == sizes
    assert len(splits["test"].history) + len(splits["test"].events) == events


@pytest.mark.data
def test_what_the_real_files_hold(data_root):
    found = load_events("bitcoin-alpha", data_root)
    assert found.facts["edge_dim"] == 1 and len(found.names) == 3_783
    found = load_events("jodie-wikipedia", data_root)
    assert int(found.data.src.max()) < 8_227 <= int(found.data.dst.min())
    found = load_events("collegemsg", data_root, protocol="inductive", seed=1)
    test = found.splits["test"]
    assert len(test.history) == 41_884 + 8_975 and 0 < int(test.scored.sum()) < 8_976


def test_a_missing_archive_says_where_the_events_are(tmp_path):
    with pytest.raises(
        FileNotFoundError,
        match=r"no such file: .*collegemsg.events.npz; set GRAPHLEARN_DATA to the folder that has "
        r"collegemsg, or get the events from https://snap.stanford.edu/data/CollegeMsg.html",
    ):
        load_events("collegemsg", tmp_path)


@pytest.mark.parametrize("folder", ["", "mooc", "mooc/raw"])
def test_jodie_files_where_they_may_be(tmp_path, folder):
    place = tmp_path / folder
    place.mkdir(parents=True, exist_ok=True)
    rows = "".join(f"{k % 3},{k % 4},{k}.0,0,0.5,1.5\n" for k in range(20))
    header = "user_id,item_id,timestamp,state_label,comma_separated_list_of_features\n"
    (place / "mooc.csv").write_text(header + rows)
    found = load_jodie("mooc", tmp_path)
    assert found.name == "mooc" and found.facts["num_nodes"] == 7
    assert found.facts["edge_dim"] == 2


def test_a_missing_jodie_file_says_where_to_get_it(tmp_path):
    with pytest.raises(
        FileNotFoundError,
        match=r"no reddit.csv in .*raw; download http://snap.stanford.edu/jodie/reddit.csv to one",
    ):
        load_jodie("reddit", tmp_path)
