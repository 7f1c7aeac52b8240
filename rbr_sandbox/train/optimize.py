"""The optimization loop that trains every sandbox model."""

import math
import time
from collections.abc import Callable, Collection
from typing import Any

import torch


def optimize(
    parameters: list[torch.nn.Parameter],
    loss_of_step: Callable[[int], torch.Tensor],
    *,
    steps: int,
    learning_rate: float,
    name: str,
    log: list[dict[str, Any]],
    weight_decay: float = 0.01,
    slow: Collection[torch.nn.Parameter] = (),
    slow_factor: float = 1.0,
    final_share: float = 0.05,
) -> None:
    """Trains with AdamW, linear warm-up and cosine decay, and appends the mean loss of every 50 steps to ``log``.

    Args:
        parameters: Parameters to train.
        loss_of_step: Returns the loss of a step; steps count from 0.
        steps: Number of optimizer steps.
        learning_rate: Peak learning rate.
        name: Name of the model in the log.
        log: List to which the rows of the training curve are appended.
        weight_decay: Weight decay of AdamW.
        slow: Parameters that learn at ``slow_factor`` times the learning rate.
        slow_factor: Factor on the learning rate of the slow parameters, in (0, 1].
        final_share: Share of the peak learning rate that the last step has; 1 keeps the rate constant.
    """
    slow_ids = {id(parameter) for parameter in slow}
    groups = [
        {"params": [p for p in parameters if id(p) in slow_ids], "lr": learning_rate * slow_factor},
        {"params": [p for p in parameters if id(p) not in slow_ids]},
    ]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.98), weight_decay=weight_decay, fused=True)
    warmup = min(100, steps // 10 + 1)

    def rate_factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        cosine = math.cos(math.pi * (step - warmup) / max(1, steps - warmup))
        return final_share + (1 - final_share) / 2 * (1 + cosine)

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate_factor)
    total, started = 0.0, time.monotonic()
    for step in range(steps):
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of_step(step)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        total += float(loss.detach())
        if (step + 1) % 50 == 0:
            seconds = round(time.monotonic() - started)
            log.append({"model": name, "step": step + 1, "loss": round(total / 50, 4), "seconds": seconds})
            print(f"{name} {step + 1}/{steps} loss {total / 50:.4f} {seconds}s", flush=True)
            total = 0.0
