"""What operations mean: one family a file. Importing a family fills ``registry.PUBLIC``."""

from luchina.ops import (  # noqa: F401
    activation,
    attention,
    conv,
    convenience,
    creation,
    dropout,
    einsum,
    embedding,
    index,
    loss,
    matmul,
    movement,
    norm,
    padding,
    pointwise,
    pool,
    recurrent,
    reduce,
    select,
    sort,
)
