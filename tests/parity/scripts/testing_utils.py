# ruff: noqa
# fmt: off
import torch, torch.nn as nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters, clip_grad_value_, clip_grad_norm_
from torch.nn.utils.rnn import pad_sequence, unpad_sequence
def t(f):
    try: print('ok', f())
    except Exception as e: print(type(e).__name__, e)
t(lambda: torch.testing.assert_close(torch.ones(2), torch.ones(2) + 1e-7)); t(lambda: torch.testing.assert_close(torch.ones(2), torch.tensor([1., 2.]))); t(lambda: torch.testing.assert_close(torch.ones(2), torch.ones(3))); t(lambda: torch.testing.assert_close(torch.ones(2), torch.ones(2).double())); t(lambda: torch.testing.assert_close(1.0, 1.1)); t(lambda: torch.testing.assert_close([torch.ones(1)], [torch.ones(1)])); t(lambda: torch.testing.assert_close(torch.ones(2), torch.ones(2)*1.01, rtol=0.1, atol=0.)); t(lambda: torch.testing.assert_close({'a': torch.ones(1)}, {'a': torch.zeros(1)}))
m = nn.Linear(2, 2); nn.init.ones_(m.weight); nn.init.zeros_(m.bias); v = parameters_to_vector(m.parameters()); print(v); vector_to_parameters(torch.arange(6.), m.parameters()); print(m.weight, m.bias)
(m(torch.ones(1, 2)) * 10).sum().backward(); clip_grad_value_(m.parameters(), 5.); print(m.weight.grad); print(clip_grad_norm_(m.parameters(), 1.), m.weight.grad, clip_grad_norm_(m.parameters(), 1., norm_type=float('inf')))
t(lambda: clip_grad_norm_([], 1.)); m.weight.grad.fill_(float('nan')); t(lambda: clip_grad_norm_(m.parameters(), 1., error_if_nonfinite=True))
seqs = [torch.ones(2), torch.full((3,), 2.), torch.tensor([3.])]; print(pad_sequence(seqs), pad_sequence(seqs, batch_first=True, padding_value=-1), pad_sequence([torch.ones(2, 3), torch.ones(1, 3)]).shape)
wn = nn.utils.weight_norm(nn.Linear(2, 2)) if hasattr(nn.utils, 'weight_norm') else None
