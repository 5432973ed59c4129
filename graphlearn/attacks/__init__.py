"""Attacks on the edges of a graph: random, by classes, and by gradients."""

from typing import TYPE_CHECKING

from graphlearn.extras import lazy

if TYPE_CHECKING:
    from graphlearn.attacks.budget import AttackResult as AttackResult
    from graphlearn.attacks.dice import DICEAttack as DICEAttack
    from graphlearn.attacks.evaluation import Adaptive as Adaptive
    from graphlearn.attacks.evaluation import adaptive as adaptive
    from graphlearn.attacks.flips import RandomAttack as RandomAttack
    from graphlearn.attacks.meta import MetaAttack as MetaAttack
    from graphlearn.attacks.prbcd import PRBCD as PRBCD

__all__ = [
    "PRBCD",
    "Adaptive",
    "AttackResult",
    "DICEAttack",
    "MetaAttack",
    "RandomAttack",
    "adaptive",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Adaptive": "graphlearn.attacks.evaluation:Adaptive",
        "AttackResult": "graphlearn.attacks.budget:AttackResult",
        "DICEAttack": "graphlearn.attacks.dice:DICEAttack",
        "MetaAttack": "graphlearn.attacks.meta:MetaAttack",
        "PRBCD": "graphlearn.attacks.prbcd:PRBCD",
        "RandomAttack": "graphlearn.attacks.flips:RandomAttack",
        "adaptive": "graphlearn.attacks.evaluation:adaptive",
    },
)
