"""``luchina.nn``: layers, losses, containers, initialisation, under PyTorch's names."""

from __future__ import annotations

from luchina.nn import functional as functional
from luchina.nn import init as init
from luchina.nn import modules as modules
from luchina.nn import utils as utils
from luchina.nn.modules import *  # noqa: F403
from luchina.nn.modules.module import Module as Module
from luchina.nn.parameter import Buffer as Buffer
from luchina.nn.parameter import Parameter as Parameter
