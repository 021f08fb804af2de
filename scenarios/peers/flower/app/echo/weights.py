"""The weights that travel, and what a node does to them instead of training.

Each node adds its own constant to what it received, so that every update is a node's own, the payload stays
incompressible (it began as noise) and the server can tell a right average from a wrong one.
"""

import numpy as np
from flwr.app import Array, ArrayRecord

NAME = "weights"
STEP = 1.0 / 64.0


def initial(parameters: int) -> ArrayRecord:
    """`parameters` float32 values drawn from N(0, 1) with a fixed seed."""
    values = np.random.default_rng(seed=1).standard_normal(parameters, dtype=np.float32)
    return ArrayRecord({NAME: Array(values)})


def step_of(node: int) -> float:
    """What node number `node` (from 0) adds to every weight in one round."""
    return (node + 1) * STEP


def mean_step(nodes: int) -> float:
    """What one round of FedAvg over `nodes` nodes of equal weight adds to every weight."""
    return sum(step_of(node) for node in range(nodes)) / nodes


def probe(arrays: ArrayRecord, parameters: int) -> list[float]:
    """The first, middle and last weight, read in place.

    `Array.numpy()` would copy the whole model, and the copy would count as the peer's memory.
    """
    data = arrays[NAME].data
    header_bytes = len(data) - parameters * np.dtype(np.float32).itemsize
    values = np.frombuffer(data, dtype=np.float32, offset=header_bytes)
    return [float(values[at]) for at in (0, parameters // 2, parameters - 1)]
