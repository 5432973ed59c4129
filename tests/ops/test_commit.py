"""Writing into an N-cache: conformance, a written-out oracle, and what must not matter."""

import copy

import pytest
import torch
from cache_cases import (
    DIGESTS,
    SMALL,
    Stream,
    college_msg,
    digests,
    empty_tables,
    play,
    small_stream,
    streams,
)
from checks import using
from hypothesis import given, settings

from graphlearn.ops import cpu
from graphlearn.ops.commit import commit
from graphlearn.ops.hashing import accept_below, key_of, lowbias32

KERNELS = pytest.mark.parametrize("kernels", [None, cpu])
COLUMNS = ("key", "eid", "ts")


@KERNELS
@pytest.mark.parametrize("hash", SMALL)
def test_conformance_of_a_small_stream(hash, kernels):
    tables = play(small_stream(hash), kernels)
    found = tables.key[:, :4], tables.eid[:, 1:5], tables.key[:, 4:], tables.eid[:, 5:]
    assert [x.tolist() for x in found] == list(SMALL[hash])
    assert int(tables.batch_no) == 2


@pytest.mark.data
@pytest.mark.parametrize("kernels", [pytest.param(None, marks=pytest.mark.slow), cpu])
@pytest.mark.parametrize(("rules", "events", "expected"), DIGESTS)
def test_conformance_of_a_real_stream(rules, events, expected, kernels, data_root):
    stream = college_msg(data_root, rules, events)
    assert digests(play(stream, kernels), stream.slots) == expected


def place_of(node, stream, hop):
    size = stream.slots[hop - 1]
    if stream.hash == "quadratic":
        n, s = node + 1, stream.seed % 100
        return (n * s + n * n * (s + 1)) % size
    return (lowbias32((node + 1) ^ key_of(stream.seed, hop)) * size) >> 32


def written_out(stream):
    """Keys, events and times by dictionaries, one candidate after the other in ascending rank."""
    hops = [[{} for _ in range(stream.num_nodes)] for _ in stream.slots]  # place -> (key, eid, t)
    own = [(-1, -1, 0)] * stream.num_nodes  # opposite end, event and time
    word, below = lowbias32(stream.seed), accept_below(stream.alpha)
    for batch, first in enumerate(range(0, len(stream.src), stream.size)):
        rows = list(zip(*(x.tolist() for x in stream[:3]), strict=True))[first:][: stream.size]
        before, size = copy.deepcopy(hops), len(rows)
        for p in range(2 * size):
            i, back = (p % size, p // size) if stream.blocks else (p // 2, p % 2)
            u, v, t = rows[i]
            owner, other = (v, u) if back else (u, v)
            wanted = [(1, p, (other, first + i, t))] if stream.slots else []
            if len(stream.slots) == 2:
                held = before[0][other]
                wanted += [(2, p * stream.slots[0] + j, held[j]) for j in sorted(held)]
            for hop, rank, slot in wanted:
                place = place_of(slot[0], stream, hop)
                occupant = before[hop - 1][owner].get(place, slot)[0]
                r = lowbias32(rank ^ lowbias32(lowbias32(word ^ batch) ^ hop))
                if occupant == slot[0] or r < below:
                    hops[hop - 1][owner][place] = slot
            own[owner] = (other, first + i, t)
    return hops, own


@settings(max_examples=80, deadline=None)
@given(streams())
def test_equals_candidates_one_by_one(stream):
    stream = stream._replace(rand=False)
    hops, own = written_out(stream)
    tables = play(stream, None)
    assert tables.opp.tolist() == [o[0] for o in own]
    assert tables.eid[:, 0].tolist() == [o[1] for o in own]
    assert tables.ts[:, 0].tolist() == [o[2] for o in own]
    first = 0
    for rows, size in zip(hops, stream.slots, strict=True):
        empty = (-1, -1, 0)
        expected = [[row.get(place, empty) for place in range(size)] for row in rows]
        for part, (name, shift) in enumerate(zip(COLUMNS, (0, 1, 1), strict=True)):
            found = getattr(tables, name)[:, first + shift : first + shift + size]
            assert found.tolist() == [[slot[part] for slot in row] for row in expected]
        first += size


@KERNELS
@settings(max_examples=30, deadline=None)
@given(stream=streams())
def test_values_come_from_the_slot_that_was_read(kernels, stream):
    tables = play(stream._replace(size=20), kernels)
    generator = torch.Generator().manual_seed(1)
    nodes = torch.cat([stream.src, stream.dst])
    nodes = nodes.repeat(2).sort()[0] if stream.spare else nodes.unique()
    fresh = torch.rand(len(nodes), 1 + sum(stream.slots), 2, generator=generator)
    own = torch.rand(len(nodes), 3, generator=generator)
    at = torch.searchsorted(nodes, nodes.unique())
    assert torch.equal(tables.rep[nodes[at], 0], fresh[at, 0])
    assert torch.equal(tables.wide[nodes[at]], own[at])
    assert not tables.rep[:, 1:].any()  # keys that were not known before start at zero


@KERNELS
def test_a_known_neighbour_keeps_its_representation(kernels):
    ends = torch.tensor([0, 0]), torch.tensor([1, 1])
    tables = play(Stream(*ends, torch.tensor([1, 2]), 2, (4,), size=1), kernels)
    generator = torch.Generator().manual_seed(1)
    torch.rand(2, 5, 2, generator=generator), torch.rand(2, 3, generator=generator)
    torch.rand(2, generator=generator), torch.rand(8, generator=generator)
    fresh = torch.rand(2, 5, 2, generator=generator)
    held = tables.key >= 0
    assert held.sum(1).tolist() == [1, 1]
    assert torch.equal(tables.rep[:, 1:][held], fresh[:, 1:][held])
    assert tables.eid[:, 1:][held].tolist() == [1, 1]


def rows_in_the_way(alpha, kernels, **rules):
    """One slot, two neighbours one after the other."""
    ends = torch.tensor([0, 0]), torch.tensor([1, 2])
    stream = Stream(*ends, torch.tensor([1, 2]), 3, (1,), alpha=alpha, size=1, **rules)
    return play(stream, kernels).key[0].item()


@KERNELS
@pytest.mark.parametrize("rand", [False, True])
def test_alpha_decides_who_stays(rand, kernels):
    assert rows_in_the_way(0.0, kernels, rand=rand) == 1
    assert rows_in_the_way(1.0, kernels, rand=rand) == 2


@KERNELS
def test_the_latest_event_of_a_batch_wins(kernels):
    ends = torch.tensor([0, 2, 0]), torch.tensor([1, 0, 1])
    tables = play(Stream(*ends, torch.tensor([1, 2, 3]), 3, (1,), size=3), kernels)
    assert (tables.key[0, 0], tables.eid[0, 1], tables.ts[0, 1]) == (1, 2, 3)
    assert (tables.opp[0], tables.eid[0, 0]) == (1, 2)


@KERNELS
def test_in_blocks_every_destination_comes_after_every_source(kernels):
    ends = torch.tensor([0, 1]), torch.tensor([1, 2])  # node 1: destination, then source
    stream = Stream(*ends, torch.tensor([1, 2]), 3, (1,), size=2)
    assert play(stream, kernels).opp[1] == 2
    assert play(stream._replace(blocks=True), kernels).opp[1] == 0


@KERNELS
def test_events_that_share_no_node_may_change_places(kernels):
    torch.manual_seed(0)
    one, two = torch.randint(6, (2, 30)), 6 + torch.randint(6, (2, 30))
    t, order = torch.zeros(60, dtype=torch.int64), torch.rand(60).argsort()
    order = torch.cat([(order < 30).nonzero(), (order >= 30).nonzero()]).argsort(0)[:, 0]
    ends = torch.cat([one, two], 1)
    found = []
    for pairs in (ends, ends[:, order]):
        rules = {"alpha": 1.0, "size": 60}
        found.append(play(Stream(*pairs, t, 12, (4, 2), **rules), kernels).key)
    assert torch.equal(*found)


@KERNELS
def test_nothing_else_changes(kernels):
    stream = small_stream("mix")._replace(num_nodes=9)
    tables = play(stream, kernels)
    assert (tables.key[5:] == -1).all()
    assert (tables.eid[5:] == -1).all()
    assert not tables.ts[5:].any()
    assert not tables.rep[5:].any()


def test_half_precision_is_rounded_when_written():
    tables = empty_tables(2, (2,))
    tables = tables._replace(rep=tables.rep.half())
    fresh, zero, one = torch.rand(2, 3, 2), torch.tensor([0]), torch.tensor([1])
    with using(None):
        commit(
            tables, (zero, one, one, zero), (zero, one), fresh, torch.rand(2, 3), slots=(2,),
            hash="mix", seed=0, below=0,
        )  # fmt: skip
    assert torch.equal(tables.rep[:, 0], fresh[:, 0].half())
