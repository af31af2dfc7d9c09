"""Functional forms beside PyTorch's, with their odd arguments."""

from __future__ import annotations

import numpy as np
import pytest

from nn.oracle import call, check

pytestmark = pytest.mark.parity

rng = np.random.default_rng(7)
A, B = rng.standard_normal((2, 4, 5)).astype(np.float32)
P, Q = rng.random((2, 4, 5)).astype(np.float32)
SIGN, CLASSES, WEIGHT = np.sign(B), np.array([1, 0, 4, 2]), P[0]

LOSSES = [
    ("mse_loss(x[0],x[1],weight=x[2],{})", A, B, P),
    ("l1_loss(x[0],x[1],{})", A, B),
    ("smooth_l1_loss(x[0],x[1],beta=.3,{})", A, B),
    ("smooth_l1_loss(x[0],x[1],beta=-1.,{})", A, B),
    ("huber_loss(x[0],x[1],delta=.3,weight=x[2],{})", A, B, P),
    ("cross_entropy(x[0],x[1],{})", A, CLASSES),
    ("cross_entropy(x[0],x[1],{})", A, P),
    ("cross_entropy(x[0],x[1],weight=x[2],ignore_index=0,label_smoothing=.1,{})", A, CLASSES, WEIGHT),
    ("nll_loss(x[0],x[1],weight=x[2],{})", A, CLASSES, WEIGHT),
    ("binary_cross_entropy(x[0],x[1],{})", P, Q),
    ("binary_cross_entropy(x[0],x[1],{})", P, Q[0]),
    ("binary_cross_entropy_with_logits(x[0],x[1],pos_weight=x[2],{})", A, P, WEIGHT),
    ("kl_div(x[0],x[1],{})", A, P),
    ("kl_div(x[0],x[1],log_target=True,{})", A, B),
    ("poisson_nll_loss(x[0],x[1],False,True,{})", P + 0.1, P * 5),
    ("gaussian_nll_loss(x[0],x[1],x[2],full=True,{})", A, B, P[:, :1]),
    ("gaussian_nll_loss(x[0],x[1],-1.,{})", A, B),
    ("hinge_embedding_loss(x[0],x[1],{})", A, SIGN),
    ("soft_margin_loss(x[0],x[1],{})", A, SIGN),
    ("margin_ranking_loss(x[0],x[1],x[2],.3,{})", A, B, SIGN),
    ("margin_ranking_loss(x[0],x[1],x[2],.3,{})", A, B, SIGN[0]),
    ("cosine_embedding_loss(x[0],x[1],x[2],.1,{})", A, B, SIGN[:, 0]),
    ("triplet_margin_loss(x[0],x[1],x[2],swap=True,{})", A, B, P),
    ("multi_margin_loss(x[0],x[1],p=2,weight=x[2],{})", A, CLASSES, WEIGHT),
    ("multilabel_soft_margin_loss(x[0],x[1],{})", A, (P > 0.5).astype(np.float32)),
]


@pytest.mark.parametrize("reduction", ["none", "mean", "sum", "x"])
@pytest.mark.parametrize("text, arrays", [(text, arrays) for text, *arrays in LOSSES])
def test_loss(text: str, arrays: list, reduction: str) -> None:
    check(call("F." + text.format(f"reduction='{reduction}'"), *arrays))


OTHERS = [
    ("F.kl_div(x[0],x[1],reduction='batchmean')", A, P),
    ("F.mse_loss(x[0],x[1],reduce=False)", A, B),
    ("F.mse_loss(x[0],x[1],size_average=False)", A, B),
    ("F.cosine_similarity(x[0],x[1],dim=-1)", A, B[0]),
    ("F.cosine_similarity(x[0]*0,x[1])", A, B),
    ("F.pairwise_distance(x[0],x[1],3.)", A, B),
    ("F.pairwise_distance(x[0],x[1],float('inf'),keepdim=True)", A, B),
    ("F.normalize(x[0],1.,dim=0)", A),
    ("F.gumbel_softmax(x[0],.5,True,dim=0)", A),
    ("F.bilinear(x[0],x[1],x[2],x[3])", A, B[:, :3], rng.standard_normal((2, 5, 3)).astype(np.float32), P[0, :2]),
    ("F.softmax(x[0],1,dtype=torch.float64)", A),
    ("F.glu(x[0])", A),
    ("F.celu(x[0],0.)", A),
    ("F.dropout(x[0],1.5)", A),
    ("F.dropout(x[0].t(),.5)", A),
    ("F.prelu(x[0],x[1])", A, P[0, :3]),
    ("F.embedding(x[1],x[0],padding_idx=1)", A, np.array([0, 1, 3])),
    ("F.interpolate(x[0],size=3,scale_factor=2)", A[None]),
    ("F.interpolate(x[0],scale_factor=.4,mode='bilinear')", A[None, None]),
    ("F.adaptive_max_pool1d(x[0],3,return_indices=True)", A[None]),
    ("F.instance_norm(x[0],x[1],x[2])", A[None], P[0, :4], P[1, :4]),
    ("F.batch_norm(x[0],None,None,training=True)", A[:1]),
    ("F.rms_norm(x[0],(5,),x[1],.1)", A, P[0]),
    ("F.max_pool1d(x[0],2)", A[0]),
    ("F.relu(x[0]*1,inplace=True)", A),
    ("F.silu(x[0]*1,inplace=True)", A),
    ("F.hardtanh(x[0]*1,inplace=True)", A),
]


@pytest.mark.parametrize("text, arrays", [(text, arrays) for text, *arrays in OTHERS])
def test_function(text: str, arrays: list) -> None:
    check(call(text, *arrays))


@pytest.mark.parametrize(
    "name", ["hardtanh", "relu6", "hardsigmoid", "softshrink", "hardshrink", "selu", "softsign", "relu"]
)
def test_activation_at_kinks_and_non_finite_numbers(name: str) -> None:
    at = [0.0, -0.0, 1.0, -1.0, 3.0, -3.0, 6.0, 0.5, -0.5, np.inf, -np.inf, np.nan]
    check(call(f"F.{name}(x[0])", np.array(at, dtype=np.float32)))
