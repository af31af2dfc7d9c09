"""Layers, a family a file."""

from __future__ import annotations

from luchina.nn.modules.activation import *  # noqa: F403
from luchina.nn.modules.batchnorm import *  # noqa: F403
from luchina.nn.modules.container import *  # noqa: F403
from luchina.nn.modules.conv import *  # noqa: F403
from luchina.nn.modules.distance import *  # noqa: F403
from luchina.nn.modules.dropout import *  # noqa: F403
from luchina.nn.modules.flatten import *  # noqa: F403
from luchina.nn.modules.fold import *  # noqa: F403
from luchina.nn.modules.linear import *  # noqa: F403
from luchina.nn.modules.loss import *  # noqa: F403
from luchina.nn.modules.module import Module as Module
from luchina.nn.modules.normalization import *  # noqa: F403
from luchina.nn.modules.padding import *  # noqa: F403
from luchina.nn.modules.pooling import *  # noqa: F403
from luchina.nn.modules.rnn import *  # noqa: F403
from luchina.nn.modules.sparse import *  # noqa: F403
from luchina.nn.modules.transformer import *  # noqa: F403
