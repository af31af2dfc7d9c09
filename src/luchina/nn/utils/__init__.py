"""Helpers for parameters: clipping of gradients, parameters as one vector, freezing of statistics."""

from __future__ import annotations

from luchina.nn.utils import rnn as rnn
from luchina.nn.utils.clip_grad import clip_grad_norm_ as clip_grad_norm_
from luchina.nn.utils.clip_grad import clip_grad_value_ as clip_grad_value_
from luchina.nn.utils.clip_grad import clip_grads_with_norm_ as clip_grads_with_norm_
from luchina.nn.utils.clip_grad import get_total_norm as get_total_norm
from luchina.nn.utils.convert_parameters import parameters_to_vector as parameters_to_vector
from luchina.nn.utils.convert_parameters import vector_to_parameters as vector_to_parameters
