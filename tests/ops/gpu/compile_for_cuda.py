"""Compile every GPU kernel for a CUDA device, on a machine that needs to have none.

The functions around the kernels run on CPU tensors, with a launch that compiles and starts nothing.
"""

import sys

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime import JITFunction

from graphlearn.ops import CSR, gpu

POINTERS = {
    torch.bool: "*i1",
    torch.int32: "*i32",
    torch.int64: "*i64",
    torch.float32: "*fp32",
    torch.float64: "*fp64",
}
NAMES = "commit dropout hops join locate overlap pairs refresh spmm".split()
MODULES = [sys.modules[f"graphlearn.ops.gpu.{n}"] for n in NAMES]
SALTS = {"seed", "salt", "salt1", "salt2", "word", "below"}  # never specialised
CALLED = {"search", "_probe"}  # by kernels, as are those of the cache below
CALLED |= {"lowbias", "slot", "_candidate", "_coded", "_lanes", "_waves", "_weight", "_product"}
CALLED |= {"_project", "_square", "_linear", "_gates", "_keep", "_gather_row"}
compiled = set()


def launch(kernel, grid, *args, **constants):
    """Compile the kernel for these arguments instead of starting it."""
    options = {"num_warps": constants.pop("num_warps", 4)}
    signature = dict.fromkeys(kernel.arg_names, "constexpr")
    for name, value in zip(kernel.arg_names, args, strict=False):
        if isinstance(value, torch.Tensor):
            signature[name] = POINTERS[value.dtype]
        elif value is None or (value == 1 and name not in SALTS):  # as Triton specialises
            constants[name] = value
        else:
            signature[name] = "i32" if -(2**31) <= value < 2**31 else "i64"
    source = ASTSource(kernel, signature, constants)
    binary = triton.compile(source, target=GPUTarget("cuda", 80, 32), options=options)
    assert binary.asm["cubin"]
    compiled.add(kernel)


def run(dtype, masked, channels):
    graph = CSR.from_edge_index(torch.tensor([[0, 1, 2], [1, 2, 3]]), 4, undirected=True)
    keep = torch.ones(graph.num_entries, dtype=torch.bool) if masked else None
    weight = torch.ones(graph.num_entries, dtype=dtype) if masked else None
    rows, x = (graph.ptr, graph.col), torch.ones(4, channels, dtype=dtype)
    src, dst = torch.tensor([[0, 1], [2, 3]])
    gpu.locate(*rows, src, dst)
    gpu.overlap(*rows, keep, src, dst, 4)
    gpu.difference(*rows, keep, src, dst, 4)
    gpu.overlap_sum(*rows, keep, src, dst, x)
    gpu.propagate(*rows, weight, x)
    gpu.propagate_max(*rows, weight, x)
    gpu.propagate_dot(*rows, x, x)
    gpu.pair_product(x, src, dst)
    gpu.pair_spread(x, src, dst, x[:2])
    score, bias = x[0].contiguous(), x[0, 0]
    kept = gpu.gated_hops(*rows, weight, x, score, bias, 3, 2)[1:]
    gpu.gated_hops_grad(x, *rows, weight, masked, x, score, *kept, 2, masked)
    gpu.dropout(x, 0.3, 2**40 if masked else -1, masked)
    gpu.rectify(x, x, 1.5)


def run_cache(slots, quadratic, width, channels, edge_dim):
    nodes, total = 5, sum(slots)
    key = torch.zeros(nodes, total, dtype=torch.int32)
    eid = torch.zeros(nodes, 1 + total, dtype=torch.int32)
    ts, rep = torch.zeros(eid.shape, dtype=torch.float64), torch.zeros(*eid.shape, width)
    opp, wide = torch.zeros(nodes, dtype=torch.int32), torch.zeros(nodes, channels)
    rows = torch.arange(nodes)
    rands = [torch.zeros(99) if quadratic else None] * 2
    gpu.commit(
        *(key, eid, ts, rep, opp, wide, torch.tensor(0)), *[rows] * 6, rep.clone(), wide.clone(),
        slots, quadratic, 7, 2**31, quadratic, *rands,
    )  # fmt: skip
    rules = (slots, quadratic, 7)
    gpu.join(key, ts, torch.stack([rows, rows]), *rules)
    gpu.listing(key, torch.stack([rows, rows]), *rules)
    edge = torch.zeros(3, edge_dim)
    inner, square, bias = (
        torch.zeros(width, channels + edge_dim + 2), torch.zeros(3 * width, width),
        torch.zeros(3 * width),
    )  # fmt: skip
    weights = (inner, square, square, bias, bias, torch.zeros(2), torch.zeros(2))
    given = (rows, torch.tensor(3.0).double(), key, eid, ts, rep, wide, edge, *weights, quadratic)
    gpu.refresh(*given)
    gpu.refresh_grad(rep.clone(), *given, not quadratic)


for module in MODULES:
    module.launch = launch
for settings in [(torch.float32, False, 1), (torch.float32, True, 300), (torch.float64, True, 6)]:
    run(*settings)
for slots, *settings in [([], False, 1, 0, 0), ([4], True, 5, 72, 1), ([32, 16], False, 16, 20, 9)]:
    run_cache(slots, *settings)
every = {f for m in MODULES for f in vars(m).values() if isinstance(f, JITFunction)}
left = {f.__name__ for f in every - compiled} - CALLED
assert not left, f"not compiled: {left}"
sys.stdout.write(f"{len(compiled)}\n")
