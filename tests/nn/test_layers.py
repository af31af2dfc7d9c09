"""Layers beside PyTorch's: initial numbers, results, gradients, state, printed form, errors."""

from __future__ import annotations

import numpy as np
import pytest

from nn.oracle import check, layer

pytestmark = pytest.mark.parity


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


FLAT, IMAGES, SERIES, SEQUENCE = draw(4, 5) * 3, draw(2, 4, 6, 6), draw(3, 4, 9), draw(5, 3, 8)

ACTIVATIONS = """
ReLU6() SiLU() Mish() Softmin(1) Softplus(2.,1.) Softsign() PReLU(5) ELU(.3,True) SELU() CELU(2.) Hardtanh(-.5,.3)
Hardswish() Hardsigmoid() LogSigmoid() GLU(0) Tanhshrink() Hardshrink(.2) Softshrink(.3) Threshold(.1,20.) RReLU()
AlphaDropout(.3) Dropout1d() Dropout3d() FeatureAlphaDropout() Dropout(1.) SiLU(inplace=True) PReLU(4) Hardtanh(1,0)
"""

OF_SERIES = """
Conv1d(4,6,3,padding='same',dilation=2)
Conv1d(4,6,3,padding=2,padding_mode='replicate')
Conv1d(4,6,4,padding='same',padding_mode='circular')
ConvTranspose1d(4,6,3,stride=2,padding=1,output_padding=1,groups=2,dilation=2)
MaxPool1d(2,return_indices=True)
AvgPool1d(3,2,1,True,False)
AdaptiveAvgPool1d(3)
AdaptiveMaxPool1d(2)
BatchNorm1d(4,bias=False)
InstanceNorm1d(4,affine=True,track_running_stats=True)
GroupNorm(3,4)
LayerNorm(7)
RMSNorm((4,9),eps=1e-3)
RMSNorm(8)
LocalResponseNorm(3)
Upsample(scale_factor=1.5)
Upsample(size=5,mode='linear')
Upsample(scale_factor=2,mode='linear',align_corners=True)
ReflectionPad1d(2)
ConstantPad1d((1,0),3.5)
Unflatten(1,(2,2))
Linear(8,2)
""".strip().split("\n")

OF_IMAGES = """
Conv2d(4,6,(3,1),padding='same')
Conv2d(4,6,3,padding=(1,2),padding_mode='circular')
Conv2d(4,6,3,stride=2,padding='same')
Conv2d(4,6,3,groups=3)
Conv2d(3,6,3)
ConvTranspose2d(4,6,(2,3),padding_mode='reflect')
MaxPool2d((2,3),(1,2),(1,0),ceil_mode=True)
AvgPool2d(2,divisor_override=3)
AdaptiveMaxPool2d((5,4))
InstanceNorm2d(4,affine=True)
InstanceNorm2d(3,affine=True)
PixelUnshuffle(2)
Upsample(size=(5,7),mode='bilinear')
ReplicationPad2d(2)
ZeroPad2d((1,2,0,1))
Softmax2d()
""".strip().split("\n")


@pytest.mark.parametrize("text", ACTIVATIONS.split())
def test_activation(text: str) -> None:
    check(layer(text, FLAT))
    check(layer(text, FLAT, evaluation=True))


@pytest.mark.parametrize("text", OF_SERIES)
def test_layer_of_series(text: str) -> None:
    check(layer(text, SERIES))
    check(layer(text, SERIES, evaluation=True))


@pytest.mark.parametrize("text", OF_IMAGES)
def test_layer_of_images(text: str) -> None:
    check(layer(text, IMAGES))


@pytest.mark.parametrize("text", ["Conv2d(4,6,3)", "MaxPool2d(2)", "InstanceNorm2d(4)", "AdaptiveAvgPool2d((2,None))"])
def test_layer_of_one_image(text: str) -> None:
    check(layer(text, IMAGES[0]))


@pytest.mark.parametrize("mode", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize(
    "options", ["num_layers=2,bidirectional=True,dropout=.3", "batch_first=True", "bias=False", "hidden_size=0"]
)
def test_recurrent(mode: str, options: str) -> None:
    text = f"{mode}(8,{options})" if "hidden" in options else f"{mode}(8,4,{options})"
    check(layer(text, SEQUENCE))
    check(layer(text, SEQUENCE[:, 0]))


@pytest.mark.parametrize(
    ("text", "shapes"),
    [
        ("RNN(8,4)", [(5, 3, 8), (1, 3, 4)]),
        ("RNN(8,4)", [(5, 3, 8), (1, 4)]),
        ("RNN(8,4)", [(5, 3, 8), (2, 3, 4)]),
        ("RNN(8,4)", [(5, 3, 7)]),
        ("LSTM(8,4)", [(5,)]),
        ("GRU(8,4)", [(0, 3, 8)]),
        ("LSTM(8,4,2,proj_size=2,bidirectional=True)", [(5, 3, 8)]),
        ("GRU(8,4,proj_size=2)", [(5, 3, 8)]),
        ("RNNCell(8,4,nonlinearity='relu')", [(3, 8)]),
        ("GRUCell(8,4)", [(3, 8), (3, 4)]),
        ("GRUCell(8,4)", [(3, 8), (2, 4)]),
        ("LSTMCell(8,4,bias=False)", [(8,)]),
        ("RNNCell(8,4)", [(3, 7)]),
    ],
)
def test_recurrent_states_and_errors(text: str, shapes: list[tuple[int, ...]]) -> None:
    check(layer(text, *(draw(*shape) for shape in shapes)))


CAUSAL = np.triu(np.ones((5, 5), dtype=bool), 1)
PADDING = np.array([[0, 0, 0, 1, 1], [0, 0, 0, 0, 0], [0, 0, 0, 0, 1]], dtype=bool)


@pytest.mark.parametrize("options", ["", "batch_first=True", "bias=False", "add_bias_kv=True", "add_zero_attn=True"])
@pytest.mark.parametrize(
    "masks",
    [
        {},
        {"need_weights": False},
        {"average_attn_weights": False, "attn_mask": CAUSAL},
        {"attn_mask": draw(6, 5, 5)},
        {"key_padding_mask": PADDING, "attn_mask": CAUSAL, "need_weights": False},
        {"is_causal": True},
        {"is_causal": True, "attn_mask": CAUSAL, "need_weights": False},
    ],
    ids=lambda masks: "-".join(masks) or "none",
)
def test_multi_head_attention(options: str, masks: dict) -> None:
    x = SEQUENCE.transpose(1, 0, 2).copy() if "batch" in options else SEQUENCE
    check(layer(f"MultiheadAttention(8,2,{options})", x, x, x, **masks))


def test_multi_head_attention_of_other_sizes() -> None:
    check(layer("MultiheadAttention(8,2,kdim=6,vdim=7)", draw(5, 3, 8), draw(4, 3, 6), draw(4, 3, 7)))
    check(layer("MultiheadAttention(8,2)", draw(5, 8), draw(6, 8), draw(6, 8), need_weights=False))
    check(layer("MultiheadAttention(8,3)", draw(5, 3, 8), draw(5, 3, 8), draw(5, 3, 8)))
    check(layer("MultiheadAttention(8,2)", draw(5, 3, 8), draw(4, 8), draw(4, 8)))


@pytest.mark.parametrize("options", ["", "norm_first=True,activation='gelu'", "batch_first=True,bias=False"])
def test_transformer(options: str) -> None:
    check(layer(f"TransformerDecoderLayer(8,2,16,{options})", SEQUENCE, SEQUENCE * 2))
    check(layer(f"TransformerEncoder(TransformerEncoderLayer(8,2,16,{options}),2,LayerNorm(8))", SEQUENCE))
    check(layer(f"Transformer(8,2,1,1,16,{options})", SEQUENCE, SEQUENCE * 2, evaluation=True))


@pytest.mark.parametrize("gradients", [True, False])
def test_encoder_leaves_padding_out_only_in_inference(gradients: bool) -> None:
    def run(engine):
        encoder = engine.nn.TransformerEncoder(engine.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2).eval()
        with engine.set_grad_enabled(gradients):
            return encoder(engine.tensor(draw(3, 5, 8)), src_key_padding_mask=engine.tensor(PADDING))

    check(run)


EMBEDDINGS = [
    "Embedding(5,3,padding_idx=-1)",
    "Embedding(5,3,padding_idx=7)",
    "Embedding(5,3,max_norm=1.,norm_type=1.)",
]


@pytest.mark.parametrize("text", EMBEDDINGS)
def test_embedding(text: str) -> None:
    check(layer(text, np.array([[1, 2, 0], [3, 1, 4]])))
