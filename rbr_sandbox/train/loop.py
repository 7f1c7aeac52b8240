"""The one optimization loop that every sandbox model is trained with."""

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
    slowness: float = 1.0,
    floor: float = 0.05,
) -> None:
    """AdamW with linear warm-up and cosine decay; appends the mean loss of every 50 steps to ``log``.

    Args:
        parameters: What is trained.
        loss_of_step: The loss of a step, from 0.
        steps: How many.
        learning_rate: Its peak.
        name: For the log.
        log: Receives the curve.
        weight_decay: Of AdamW.
        slow: Those of the parameters that learn at ``slowness`` times the rate.
        slowness: At most 1.
        floor: The share of the rate that is left at the end; 1 keeps it constant.
    """
    held = {id(parameter) for parameter in slow}
    groups = [
        {"params": [p for p in parameters if id(p) in held], "lr": learning_rate * slowness},
        {"params": [p for p in parameters if id(p) not in held]},
    ]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.98), weight_decay=weight_decay, fused=True)
    warmup = min(100, steps // 10 + 1)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return floor + (1 - floor) / 2 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
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
