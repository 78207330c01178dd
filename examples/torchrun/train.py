"""Linear regression over two ranks with torch's gloo back end: gradients are averaged by all_reduce."""

import os

import torch
import torch.distributed as dist


def main():
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    print(f"rank {rank} of {world} on {os.uname().nodename}", flush=True)

    torch.manual_seed(rank)
    inputs = torch.randn(512, 4)
    truth = torch.tensor([[1.0], [-2.0], [3.0], [0.5]])
    targets = inputs @ truth
    torch.manual_seed(0)
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(4, 1))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(60):
        optimiser.zero_grad()
        loss = torch.nn.functional.mse_loss(model(inputs), targets)
        loss.backward()
        optimiser.step()
        if rank == 0 and step % 20 == 19:
            print(f"step {step + 1} loss {loss.item():.6f}", flush=True)
    weights = model.module.weight.detach().flatten()
    both = [torch.zeros_like(weights) for _ in range(world)]
    dist.all_gather(both, weights)
    assert all(torch.equal(both[0], other) for other in both), "ranks ended with different weights"
    assert torch.allclose(weights, truth.flatten(), atol=0.05), f"did not learn: {weights}"
    if rank == 0:
        print("trained", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
