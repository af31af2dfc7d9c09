# ruff: noqa
# fmt: off
import torch, torch.nn as nn, torch.nn.functional as F, random
class Encoder(nn.Module):
    def __init__(self, v, e, h):
        super().__init__()
        self.embedding = nn.Embedding(v, e, padding_idx=0); self.rnn = nn.GRU(e, h, bidirectional=True); self.fc = nn.Linear(h*2, h); self.dropout = nn.Dropout(0.1)
    def forward(self, src):
        o, hid = self.rnn(self.dropout(self.embedding(src)))
        return o, torch.tanh(self.fc(torch.cat((hid[-2], hid[-1]), dim=1)))
class Attention(nn.Module):
    def __init__(self, h):
        super().__init__()
        self.attn = nn.Linear(h*3, h); self.v = nn.Linear(h, 1, bias=False)
    def forward(self, hidden, enc, mask):
        L = enc.shape[0]
        hidden = hidden.unsqueeze(1).repeat(1, L, 1); enc = enc.permute(1, 0, 2)
        e = torch.tanh(self.attn(torch.cat((hidden, enc), dim=2)))
        a = self.v(e).squeeze(2).masked_fill(mask == 0, -1e10)
        return F.softmax(a, dim=1)
class Decoder(nn.Module):
    def __init__(self, v, e, h):
        super().__init__()
        self.v = v; self.attention = Attention(h); self.embedding = nn.Embedding(v, e); self.rnn = nn.GRU(h*2+e, h); self.out = nn.Linear(h*3+e, v)
    def forward(self, inp, hidden, enc, mask):
        emb = self.embedding(inp.unsqueeze(0))
        a = self.attention(hidden, enc, mask).unsqueeze(1)
        w = torch.bmm(a, enc.permute(1, 0, 2)).permute(1, 0, 2)
        o, hidden = self.rnn(torch.cat((emb, w), dim=2), hidden.unsqueeze(0))
        assert (o == hidden).all()
        return self.out(torch.cat((o.squeeze(0), w.squeeze(0), emb.squeeze(0)), dim=1)), hidden.squeeze(0), a.squeeze(1)
class S2S(nn.Module):
    def __init__(self, enc, dec):
        super().__init__(); self.encoder = enc; self.decoder = dec
    def forward(self, src, trg, tf=0.5):
        outs = torch.zeros(trg.shape[0], trg.shape[1], self.decoder.v)
        enc, hid = self.encoder(src); mask = (src != 0).permute(1, 0); inp = trg[0, :]
        for t in range(1, trg.shape[0]):
            o, hid, _ = self.decoder(inp, hid, enc, mask)
            outs[t] = o
            inp = trg[t] if random.random() < tf else o.argmax(1)
        return outs
torch.manual_seed(3); random.seed(3)
m = S2S(Encoder(12, 8, 10), Decoder(12, 8, 10))
def init_weights(m):
    for name, p in m.named_parameters():
        if 'weight' in name: nn.init.normal_(p.data, mean=0, std=0.1)
        else: nn.init.constant_(p.data, 0)
m.apply(init_weights)
opt = torch.optim.Adam(m.parameters()); crit = nn.CrossEntropyLoss(ignore_index=0)
for step in range(6):
    src = torch.randint(1, 12, (7, 3)); src[5:, 1] = 0; trg = src.flip(0)
    opt.zero_grad()
    out = m(src, trg)
    loss = crit(out[1:].view(-1, 12), trg[1:].reshape(-1))
    loss.backward()
    torch.nn.utils.clip_grad_norm_(m.parameters(), 1)
    opt.step()
    print(step, round(loss.item(), 4))
