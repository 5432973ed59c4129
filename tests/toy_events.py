"""A small model of events whose every call can be followed."""

import torch
from torch import nn


class Trails(nn.Module):
    """A trainable toy: how often and how lately a pair met, and a vector of each node."""

    def __init__(self, num_nodes, edge_dim=0, node_dim=0, *, dropout=0.0):
        super().__init__()
        self.register_buffer("met", torch.zeros(num_nodes, num_nodes))
        self.register_buffer("trace", torch.zeros(num_nodes, 1 + edge_dim))
        self.register_buffer("seen", torch.zeros(2, dtype=torch.long))
        self.weight = nn.Parameter(0.1 * torch.randn(2))
        self.node = nn.Linear(1 + edge_dim + node_dim, 4)
        self.dropout = nn.Dropout(dropout)
        self.log = []

    def reset(self):
        self.met.zero_()
        self.trace.zero_()
        self.seen.zero_()
        self.log.append("reset")

    def read(self, nodes, now, features):
        self.log.append("read")
        h = torch.cat([self.trace, features.node], dim=1)
        return self.met.clone(), self.node(self.dropout(h)), features.edge

    def score(self, view, pairs, t):
        met, h, _ = view
        known = torch.stack([met[pairs[0], pairs[1]], met[pairs[1], pairs[0]]], dim=1)
        return known @ self.weight + (h[pairs[0]] * h[pairs[1]]).sum(1)

    @torch.no_grad()
    def update(self, view, events):
        self.log.append(("update", events.eid.tolist()))
        self.met *= 0.999
        self.met.index_put_((events.src, events.dst), torch.ones(()))
        one = torch.cat([torch.ones(len(events.eid), 1), view[2][events.eid]], dim=1)
        self.trace.index_add_(0, events.src, one / 50)
        self.seen += torch.stack([torch.tensor(len(events.eid)), (events.eid + 1).sum()])

    def occupancy(self):
        return ((self.met > 0).double().mean().expand(2) * torch.tensor([1.0, 0.5])).double()
