# ruff: noqa
# fmt: off
import torch, torch.nn as nn
text = "hello world, this is a tiny corpus for a character level model. "
chars = sorted(set(text)); stoi = {c: i for i, c in enumerate(chars)}; itos = {i: c for c, i in stoi.items()}
data = torch.tensor([stoi[c] for c in text])
class CharRNN(nn.Module):
    def __init__(self, v, h, cell):
        super().__init__()
        self.emb = nn.Embedding(v, 16)
        self.rnn = getattr(nn, cell)(16, h, num_layers=2, batch_first=True, dropout=0.0)
        self.fc = nn.Linear(h, v)
    def forward(self, x, hid=None):
        o, hid = self.rnn(self.emb(x), hid)
        return self.fc(o), hid
for cell in ('RNN', 'LSTM', 'GRU'):
    torch.manual_seed(0)
    m = CharRNN(len(chars), 24, cell)
    print(m)
    opt = torch.optim.Adam(m.parameters(), lr=3e-3)
    for step in range(15):
        ix = torch.randint(0, len(data) - 17, (4,))
        x = torch.stack([data[i:i+16] for i in ix]); y = torch.stack([data[i+1:i+17] for i in ix])
        logits, _ = m(x)
        loss = nn.functional.cross_entropy(logits.view(-1, len(chars)), y.view(-1))
        opt.zero_grad(); loss.backward()
        n = nn.utils.clip_grad_norm_(m.parameters(), 1.0)
        opt.step()
    print(cell, loss.item(), n)
    m.eval()
    with torch.no_grad():
        c = torch.tensor([[stoi['h']]]); h = None; out = 'h'
        for _ in range(10):
            lo, h = m(c, h)
            p = torch.softmax(lo[0, -1] / 0.8, dim=-1)
            i = torch.multinomial(p, 1).item()
            out += itos[i]; c = torch.tensor([[i]])
    print(repr(out))
