"""``luchina.optim``: optimizers and learning-rate schedules, under PyTorch's names."""

from __future__ import annotations

from luchina.optim import lr_scheduler as lr_scheduler
from luchina.optim.adadelta import Adadelta as Adadelta
from luchina.optim.adagrad import Adagrad as Adagrad
from luchina.optim.adam import Adam as Adam
from luchina.optim.adam import AdamW as AdamW
from luchina.optim.adamax import Adamax as Adamax
from luchina.optim.nadam import NAdam as NAdam
from luchina.optim.optimizer import Optimizer as Optimizer
from luchina.optim.rmsprop import RMSprop as RMSprop
from luchina.optim.sgd import SGD as SGD
