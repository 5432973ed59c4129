"""Benchmarks: named alternatives on the same input, and tables of their ratios."""

from graphlearn.bench.measure import Case, Limit, Ratio, Value, measure, run
from graphlearn.bench.results import benchmarks, lines, machine, save, write_table

__all__ = [
    "Case",
    "Limit",
    "Ratio",
    "Value",
    "benchmarks",
    "lines",
    "machine",
    "measure",
    "run",
    "save",
    "write_table",
]
