"""Meta relations: enumeration, what a stack needs of them, patterns."""

import pytest

from graphlearn.ops.paths import chain, extended, layers, meta_relations

ACM = [
    ("author", "writes", "paper"),
    ("paper", "by", "author"),
    ("subject", "of", "paper"),
    ("paper", "has", "subject"),
]


def types(path):
    """Receiver first, as the paper of LATTE writes them: PA aggregates authors."""
    return "".join(name[0] for name in path[::-2]).upper()


def test_the_meta_relations_of_acm():
    assert [types(path) for path in meta_relations(ACM, 1)] == ["PA", "AP", "PS", "SP"]
    found = {types(path) for path in meta_relations(ACM, 2)}
    assert found == {"PAP", "PSP", "APA", "APS", "SPA", "SPS"}
    assert len(meta_relations(ACM, 2)) == 6 and len(meta_relations(ACM, 3)) == 8


def test_two_relations_of_the_same_types_stay_apart():
    both = [("user", "likes", "film"), ("user", "hates", "film"), ("film", "by", "user")]
    found = meta_relations(both, 2)
    assert ("user", "likes", "film", "by", "user") in found
    assert ("user", "hates", "film", "by", "user") in found
    assert chain(found[0]) == "film-by-user-likes-film"


def test_chains_meet_in_their_middle():
    for path in meta_relations(ACM, 3):
        parts = [path[start : start + 3] for start in (0, 2, 4)]
        assert all(part in ACM for part in parts)
    assert extended([("paper", "has", "subject")], ACM) == [
        ("author", "writes", "paper", "has", "subject"),
        ("subject", "of", "paper", "has", "subject"),
    ]


def test_only_what_the_target_needs():
    dblp = [
        ("author", "writes", "paper"),
        ("paper", "by", "author"),
        ("conference", "hosts", "paper"),
        ("paper", "at", "conference"),
    ]
    first, second = layers(dblp, 2, target="author")
    assert {types(path) for path in second} == {"APA", "APC"}
    assert {types(path) for path in first} == {"AP", "CP"}
    whole = layers(dblp, 2, target=None)
    assert [len(found) for found in whole] == [4, 6]
    assert [len(found) for found in layers(dblp, 3, target="author", join=False)] == [4, 3, 1]


def test_patterns_choose():
    first, second = layers(ACM, 2, target=None, only=["paper-*-paper"])
    assert len(first) == 4 and {types(path) for path in second} == {"PAP", "PSP"}
    first, second = layers(ACM, 2, target=None, without=["*subject*"])
    assert {types(path) for path in first + second} == {"PA", "AP", "PAP", "APA"}
    *_, third = layers(ACM, 3, target=None, only=["author-*-subject-of-paper"])
    assert {types(path) for path in third} == {"PSPA"}


def test_messages():
    with pytest.raises(ValueError, match=r"no meta relation of up to 2 steps matches 'papr-\*'"):
        layers(ACM, 2, target="paper", only=["papr-*"])
    with pytest.raises(ValueError, match="layer 3 has 8 meta relations, more than max_relat"):
        layers(ACM, 3, target=None, most=7)
