"""What operations mean: one family a file. Importing a family fills ``registry.PUBLIC``."""

from luchina.ops import (  # noqa: F401
    creation,
    einsum,
    embedding,
    index,
    matmul,
    movement,
    pointwise,
    reduce,
    select,
    sort,
)
