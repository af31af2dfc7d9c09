# ruff: noqa
# fmt: off
import torch
import torch.nn as nn
import torch.optim as optim
X = torch.tensor([[0,0],[0,1],[1,0],[1,1]], dtype=torch.float32)
Y = torch.tensor([[0],[1],[1],[0]], dtype=torch.float32)
class XOR(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(2, 8)
        self.fc2 = nn.Linear(8, 1)
    def forward(self, x):
        x = torch.tanh(self.fc1(x))
        return torch.sigmoid(self.fc2(x))
torch.manual_seed(42)
model = XOR()
print(model)
crit = nn.BCELoss()
opt = optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
print(opt)
for epoch in range(200):
    opt.zero_grad()
    out = model(X)
    loss = crit(out, Y)
    loss.backward()
    opt.step()
    if epoch % 50 == 0:
        print(f'Epoch {epoch}, Loss: {loss.item():.4f}')
with torch.no_grad():
    pred = (model(X) > 0.5).float()
    print(pred, (pred == Y).float().mean())
for name, p in model.named_parameters():
    print(name, p.shape, p.requires_grad)
print(sum(p.numel() for p in model.parameters() if p.requires_grad))
