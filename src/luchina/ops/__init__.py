"""What operations mean: one family a file. Importing a family fills ``registry.PUBLIC``."""

from luchina.ops import (  # noqa: F401
    activation,
    conv,
    creation,
    dropout,
    einsum,
    embedding,
    index,
    matmul,
    movement,
    padding,
    pointwise,
    pool,
    reduce,
    select,
    sort,
)
