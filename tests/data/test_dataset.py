"""The records of a data set are what readers hand to tasks, and cannot be changed by accident."""

from dataclasses import FrozenInstanceError

import pytest
import torch
from toy import link_dataset, node_dataset

from graphlearn.data.dataset import LinkSplit


def test_records_are_frozen():
    dataset = link_dataset()
    with pytest.raises(FrozenInstanceError):
        dataset.name = "other"
    with pytest.raises(FrozenInstanceError):
        dataset.splits["train"].pos = torch.zeros(2, 0)


def test_splits_do_not_share_their_attributes():
    first, second = LinkSplit(torch.zeros(2, 1)), LinkSplit(torch.zeros(2, 1))
    assert first.neg is None and first.attributes == {}
    assert first.attributes is not second.attributes


def test_a_data_set_may_name_its_classes():
    assert link_dataset().classes is None
    dataset = node_dataset(num_classes=2)
    assert dataset.classes == ["class0", "class1"] and dataset.kind == "node"
