"""Train one model on two workers at once with PyTorch's DistributedDataParallel.

Submit it with the template "Distributed PyTorch" (file: examples/ddp_digits.py, 2 workers, CPU). torchrun starts this
same program on every worker and tells each its rank. Every worker learns from its own half of the data; after each
step the workers average their gradients, so that all of them hold the same model all the time.
"""

import os
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

EPOCHS = 10

dist.init_process_group(os.environ.get("TORCH_BACKEND", "gloo"))
rank, world = dist.get_rank(), dist.get_world_size()
on_gpu = torch.cuda.is_available() and dist.get_backend() == "nccl"
device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if on_gpu else torch.device("cpu")


def say(text):
    print(f"[rank {rank}] {text}", flush=True)


# Do the workers hear each other? Everyone gives its number; everyone must get the same sum.
total = torch.tensor([float(rank + 1)], device=device)
dist.all_reduce(total)
assert total.item() == world * (world + 1) / 2, "the workers do not add up"
say(f"all-reduce check: {total.item():.0f} from {world} workers")

# Ten invented digits: a random 8 x 8 shape each, drawn many times with noise. The seed makes every worker invent the
# same ones; the sampler then hands each worker its own share.
torch.manual_seed(0)
shapes = torch.rand(10, 64)
labels = torch.arange(10).repeat(200)
images = shapes[labels] + 0.6 * torch.randn(len(labels), 64)
dataset = TensorDataset(images, labels)
sampler = DistributedSampler(dataset, num_replicas=world, rank=rank)
loader = DataLoader(dataset, batch_size=50, sampler=sampler)

network = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)).to(device)
model = DistributedDataParallel(network, device_ids=[device.index] if on_gpu else None)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

for epoch in range(1, EPOCHS + 1):
    sampler.set_epoch(epoch)  # a new order each time
    seen = 0.0
    for batch, wanted in loader:
        loss = nn.functional.cross_entropy(model(batch.to(device)), wanted.to(device))
        optimizer.zero_grad()
        loss.backward()  # here the gradients are averaged over all workers
        optimizer.step()
        seen += loss.item()
    say(f"epoch={epoch} loss={seen / len(loader):.4f}")

# The proof: after training apart on different data, the weights are the same everywhere.
mine = torch.cat([weights.detach().flatten() for weights in network.parameters()])
first = mine.clone()
dist.broadcast(first, src=0)
assert torch.equal(mine, first), "the models have drifted apart"
say("my model equals that of rank 0")

if rank == 0:
    folder = Path(os.environ.get("CUBE_WORKSPACE", "/workspace")) / "models"
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), folder / "ddp_digits.pt")
    say("saved models/ddp_digits.pt")

dist.barrier()  # nobody leaves before the model is saved
dist.destroy_process_group()
