"""What operations mean: one family a file. Importing a family fills ``registry.PUBLIC``."""

from luchina.ops import creation, matmul, movement, pointwise, reduce, select  # noqa: F401
