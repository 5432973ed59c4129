import gzip
import logging
import time

import numpy as np
import pytest
import torch
from torch_geometric.data import TemporalData

from graphlearn.data.events import (
    from_temporal_data,
    holds_events,
    read_event_archive,
    read_events,
)

ROWS = [(k % 5, (k * 3 + 1) % 7, 10 * k) for k in range(20)]
JODIE = "user_id,item_id,timestamp,state_label,comma_separated_list_of_features\n"


def write(tmp_path, rows, name="toy.csv", header="", mark=","):
    text = header + "".join(mark.join(map(str, row)) + "\n" for row in rows)
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def columns(dataset):
    data = dataset.data
    return list(zip(data.src.tolist(), data.dst.tolist(), data.t.tolist(), strict=True))


def archive(tmp_path, **changes):
    src, dst, t = np.array(ROWS).T
    arrays = {"src": src.astype(np.int32), "dst": dst.astype(np.int32), "t": t, **changes}
    path = tmp_path / "toy.npz"
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


def temporal(**changes):
    src, dst, t = torch.tensor(ROWS).T
    return TemporalData(**{"src": src, "dst": dst, "t": t, **changes})


@pytest.mark.parametrize(
    ("name", "header", "mark"),
    [
        ("toy.csv", "", ","),
        ("toy.csv.gz", "src,dst,time\n", ","),
        ("toy.tsv", "from\tto\tts\n", "\t"),
        ("toy.txt", "", " "),  # the layout of SNAP
        ("toy.txt.gz", "# events\n", "   "),
        ("toy.csv", "u,v,t\n", ";"),
    ],
)
def test_tables_of_every_layout(tmp_path, name, header, mark):
    header = header.replace(",", mark)
    found = read_events(write(tmp_path, ROWS, name, header, mark))
    assert columns(found) == ROWS
    assert found.name == "toy" and found.kind == "events" and found.names is None
    assert found.facts["num_nodes"] == 7 and found.facts["edge_dim"] == 0
    assert found.data.t.dtype == torch.int64


def test_columns_by_name_in_any_order(tmp_path):
    header = ",Weight,Time,Target,state_label,Source,size,idx\n"
    rows = [(k, 0.5 * k, t, v, k % 2, u, -k, k) for k, (u, v, t) in enumerate(ROWS)]
    found = read_events(write(tmp_path, rows, header=header))
    assert columns(found) == ROWS
    assert found.data.msg.tolist() == [[0.5 * k, -k] for k in range(20)]
    assert (
        found.data.y.tolist() == [k % 2 for k in range(20)]
        and not found.data.y.dtype.is_floating_point
    )
    assert found.facts["edge_dim"] == 2


def test_time_may_stand_before_unnamed_ends(tmp_path):
    rows = [(t, u, v) for u, v, t in ROWS]
    assert columns(read_events(write(tmp_path, rows, header="time,who,whom\n"))) == ROWS


def test_further_columns_without_a_header_are_features(tmp_path):
    found = read_events(write(tmp_path, [(*row, 1.5, k) for k, row in enumerate(ROWS)]))
    assert found.data.msg.shape == (20, 2) and found.data.msg[3].tolist() == [1.5, 3]
    assert found.data.msg.dtype == torch.float32


def test_columns_of_words_are_left_out(tmp_path, caplog):
    rows = [(*row, f"mail {k}", k) for k, row in enumerate(ROWS)]
    found = read_events(write(tmp_path, rows, header="src,dst,time,what,size\n"))
    assert found.data.msg[:, 0].tolist() == list(range(20))
    assert "toy.csv: ignored the columns ['what'], which hold words" in caplog.text
    found = read_events(write(tmp_path, [(*row, "a b") for row in ROWS]))
    assert "msg" not in found.data and "ignored the columns [4]" in caplog.text


def test_quoted_names_may_hold_the_separator(tmp_path):
    rows = [(f'"Lee, {u}"', f'"Kim, {v}"', t) for u, v, t in ROWS]
    found = read_events(write(tmp_path, rows, header="from,to,when,t\n".replace("when,", "")))
    assert found.names[:2] == ["Kim, 0", "Kim, 1"] and found.data.t.tolist() == [r[2] for r in ROWS]


@pytest.mark.parametrize("width", [0, 1, 4])
def test_jodie_files(tmp_path, width):
    rows = [(u, v, f"{t}.0", u % 2, *[0.25] * width) for u, v, t in ROWS]
    found = read_events(write(tmp_path, rows, header=JODIE))
    assert columns(found) == [(u, v + 5, t) for u, v, t in ROWS]
    assert found.facts["num_nodes"] == 12 and found.facts["edge_dim"] == width
    assert found.data.y.tolist() == [u % 2 for u, _, _ in ROWS] and found.names is None


def test_users_and_items_are_apart_whatever_they_are_called(tmp_path):
    rows = [(100 * u, v, t) for u, v, t in ROWS]
    found = read_events(write(tmp_path, rows, header="user,item,time\n"))
    assert found.names == [f"user {100 * k}" for k in range(5)] + [f"item {k}" for k in range(7)]
    assert columns(found) == [(u, v + 5, t) for u, v, t in ROWS]
    rows = [(f"ann{u}", f"book{v}", t) for u, v, t in ROWS]
    found = read_events(write(tmp_path, rows, header="user_id,item_id,t\n"))
    assert found.names == [f"ann{k}" for k in range(5)] + [f"book{k}" for k in range(7)]
    path = write(tmp_path, [*ROWS, (-1, 2, 300)], header="user,item,time\n")
    with pytest.raises(ValueError, match=r"toy.csv, line 22: node id -1 is negative"):
        read_events(path)
    with pytest.raises(ValueError, match=r"numbers users and items apart: .* do not apply"):
        read_events(write(tmp_path, ROWS, header="user,item,time\n"), num_nodes=12)


def test_names_and_ids_with_gaps(tmp_path, caplog):
    found = read_events(write(tmp_path, [(f"n{u}", f"n{v}", t) for u, v, t in ROWS]))
    assert found.names == [f"n{k}" for k in range(7)] and columns(found) == ROWS
    far = [(u + 2**33, v + 2**33, t) for u, v, t in ROWS]
    found = read_events(write(tmp_path, far))
    assert found.names[3] == str(2**33 + 3) and columns(found) == ROWS
    assert "ids have gaps" in caplog.text


def test_large_ids_and_times_are_exact(tmp_path):
    far = [(u + 2**24, v + 2**24, 2**62 + t) for u, v, t in ROWS]
    found = read_events(write(tmp_path, far), num_nodes=2**24 + 7)
    assert columns(found) == far and found.facts["num_nodes"] == 2**24 + 7
    found = read_events(write(tmp_path, [(u, v, 2**31 + t + 0.5) for u, v, t in ROWS]))
    assert found.data.t.dtype == torch.float64
    assert found.data.t.tolist() == [2**31 + t + 0.5 for _, _, t in ROWS]


def test_node_features(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((9, 2), dtype=np.float32))
    found = read_events(write(tmp_path, ROWS), features=tmp_path / "x.npy")
    assert found.data.x.shape == (9, 2) and found.facts["num_nodes"] == 9
    assert found.facts["node_dim"] == 2


def test_events_in_disorder_are_sorted_with_one_notice(tmp_path, caplog):
    rows = [*ROWS[10:], *ROWS[:10], (6, 6, 50)]
    path = write(tmp_path, [(*row, k) for k, row in enumerate(rows)])
    with caplog.at_level(logging.WARNING):
        found = read_events(path)
    assert len(caplog.records) == 1
    assert "toy.csv: events were not in order of time, now they are" in caplog.text
    assert "line 11: time 0 comes after 190" in caplog.text
    # Equal times stay in the order of the file, and features stay with their event.
    assert columns(found) == [*ROWS[:6], (6, 6, 50), *ROWS[6:]]
    assert found.data.msg[:8, 0].tolist() == [10, 11, 12, 13, 14, 15, 20, 16]
    with pytest.raises(ValueError, match=r"line 11: time 0 comes after 190; sort the events"):
        read_events(path, strict=True)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((1, 2, "noon", 0), r"toy.csv, line 21: time 'noon' is not a number"),
        ((1, 2, "1_0", 0), r"toy.csv, line 21: time '1_0' is not a number"),
        ((1, 2, "", 0), r"toy.csv, line 21: time '' is not a number"),
        ((1, 2, "nan", 0), r"toy.csv, line 21: time must be a finite number from 0, got nan"),
        ((1, 2, "inf", 0), r"toy.csv, line 21: time must be a finite number from 0, got inf"),
        ((1, 2, -5, 0), r"toy.csv, line 21: time must be a finite number from 0, got -5"),
        ((1, 2, 300), r"toy.csv, line 21: expected 4 values, got 3"),
        ((1, 2, 300, 0, 0), r"toy.csv, line 21: expected 4 values, got 5"),
        ((1, 2, 300, ""), r"toy.csv, line 21: a feature is missing"),
        ((1, 2, 300, "x"), r"toy.csv, line 21: a feature 'x' is not a number"),
        ((1, 2, 300, "nan"), r"toy.csv, line 21: a feature is not finite"),
        ((1, "", 300, 0), r"toy.csv, line 21: expected two ends of an edge"),
        ((1, "x", 300, 0), r"toy.csv, line 21: node id 'x' is not a whole number"),
        ((1, -2, 300, 0), r"toy.csv, line 21: node id -2 is negative"),
    ],
)
def test_bad_rows(tmp_path, row, message):
    rows = [*((*row, 0) for row in ROWS), row]
    with pytest.raises(ValueError, match=message) as caught:
        read_events(write(tmp_path, rows))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"toy.csv holds no data"),
        ("src,dst,time\n", r"toy.csv holds no events"),
        ("0,1\n1,2\n", r"an event needs source, destination and time, got 2 columns"),
        ("src,dst,size\n0,1,2\n", r"got the columns \['src', 'dst', 'size'\]"),
        ("src,dst,time,size\n0,1,2\n", r"toy.csv: 4 names of columns, but rows of 3"),
        ("0,1,5\n1,0,6\n", r"a stream of 2 events is too short .* 1 training, 0 validation and 1"),
        ("0,1,5\n1,0,5\n0,1,5\n", r"3 training, 0 validation .*, all of them are at one time"),
        ("0,0,1\n0,0,2\n0,0,3\n", r"toy: a stream needs at least 2 nodes, got 1"),
    ],
)
def test_tables_that_hold_no_stream(tmp_path, text, message):
    path = tmp_path / "toy.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_events(path)


def test_large_tables_are_read_in_one_go(tmp_path):
    table = np.random.default_rng(0).integers(0, 1000, (100_000, 3))
    table[:, 2] = np.arange(100_000)
    np.savetxt(tmp_path / "big.csv", table, fmt="%d", delimiter=",")
    start = time.process_time()
    assert read_events(tmp_path / "big.csv").facts["num_events"] == 100_000
    assert time.process_time() - start < 3  # a loop over cells takes longer


def test_archives(tmp_path):
    found = read_event_archive(archive(tmp_path))
    assert columns(found) == ROWS and found.name == "toy" and found.facts["num_nodes"] == 7
    found = read_event_archive(
        archive(
            tmp_path,
            num_nodes=np.array(9),
            msg=np.ones(20),
            y=np.full(20, 0.5),
            x=np.ones((9, 3)),
            orig_id=np.arange(9) * 7,
        )
    )
    assert found.facts["num_nodes"] == 9 and found.names[2] == "14"
    assert (found.facts["edge_dim"], found.facts["node_dim"]) == (1, 3)
    assert found.data.msg.dtype == found.data.x.dtype == found.data.y.dtype == torch.float32
    assert read_event_archive(archive(tmp_path), num_nodes=12).facts["num_nodes"] == 12


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"t": None}, r"toy.npz has no array 't', only \['dst', 'src'\]"),
        ({"src": np.ones(20)}, r"toy.npz: src must hold 20 rows of whole numbers, got float64"),
        ({"dst": np.ones((20, 1), int)}, r"dst must hold 20 rows of whole .*, got int64 \(20, 1\)"),
        ({"t": np.arange(19)}, r"toy.npz: t must hold 20 rows of numbers, got int64 \(19,\)"),
        ({"t": np.array(["a"] * 20)}, r"toy.npz: t must hold 20 rows of numbers, got <U1"),
        ({"t": np.full(20, np.nan)}, r"toy.npz, event 0: time must be a finite number from 0"),
        ({"t": np.arange(20) - 1}, r"toy.npz, event 0: time must be .* from 0, got -1"),
        ({"msg": np.ones((19, 2))}, r"toy.npz: msg must hold 20 rows of numbers, got float64"),
        ({"msg": np.full((20, 2), np.inf)}, r"toy.npz, event 0: a feature is not finite"),
        ({"names": np.array(["a"])}, r"toy.npz: 1 names for 7 nodes"),
        ({"num_nodes": np.array(3)}, r"toy: node ids must lie in \[0, 3\), got 3"),
        ({"x": np.ones((3, 2))}, r"toy.npz: features must have shape \(7, F\), got \(3, 2\)"),
    ],
)
def test_bad_archives(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        read_event_archive(archive(tmp_path, **changes))


def test_archives_in_disorder(tmp_path, caplog):
    path = archive(tmp_path, t=np.arange(20)[::-1])
    assert read_event_archive(path).data.src.tolist() == [u for u, _, _ in ROWS][::-1]
    assert "toy.npz: events were not in order of time" in caplog.text
    with pytest.raises(ValueError, match=r"toy.npz, event 1: time 18 comes after 19; sort"):
        read_event_archive(path, strict=True)


def test_temporal_data():
    given = temporal(msg=torch.ones(20, 2), y=torch.arange(20), x=torch.ones(8, 1))
    found = from_temporal_data(given)
    assert columns(found) == ROWS and found.name == "pyg"
    assert found.facts["num_nodes"] == 8 and found.facts["edge_dim"] == 2
    assert found.data is not given and found.data.y.tolist() == list(range(20))
    assert from_temporal_data(temporal(t=torch.arange(20.0))).data.t.dtype == torch.int64
    assert from_temporal_data(temporal(), num_nodes=30).facts["num_nodes"] == 30
    with pytest.raises(ValueError, match=r"the TemporalData object has no dst"):
        from_temporal_data(TemporalData(src=torch.arange(3), t=torch.arange(3)))
    with pytest.raises(ValueError, match=r"TemporalData, event 0: time must be a finite number"):
        from_temporal_data(temporal(t=torch.full((20,), torch.nan)))
    with pytest.raises(ValueError, match=r"TemporalData, event 1: time 18 comes after 19"):
        from_temporal_data(temporal(t=torch.arange(20).flip(0)), strict=True)


def test_a_node_that_meets_itself(tmp_path):
    rows = [(u, u, t) for u, _, t in ROWS]
    assert columns(read_events(write(tmp_path, rows))) == rows


def test_protocols_reach_the_split(tmp_path):
    rows = [(k % 13, (k * 5 + 3) % 29, k) for k in range(300)]
    path = write(tmp_path, rows)
    found = read_events(path, protocol="inductive", seed=3, replay="reference")
    assert found.splits["test"].groups["new"].all()
    assert len(read_events(path, valid=0.3, test=0.2).splits["valid"].events) == 90


def test_what_holds_events(tmp_path):
    assert holds_events(write(tmp_path, ROWS, "a.csv", "src,dst,time\n"))
    assert holds_events(write(tmp_path, ROWS, "a.tsv.gz", "who\twhom\tts\n", "\t"))
    assert holds_events(archive(tmp_path))
    assert not holds_events(write(tmp_path, ROWS, "a.csv"))
    assert not holds_events(write(tmp_path, ROWS, "a.csv", "src,dst,year\n"))
    assert not holds_events(write(tmp_path, [(0, 1)], "a.csv", "s,t\n"))
    assert not holds_events(archive(tmp_path, t=None))
    for name in ("no.npz", "no.csv.gz"):
        (tmp_path / name).write_bytes(b"PK\x03\x04 nothing\n")
        assert not holds_events(tmp_path / name)
