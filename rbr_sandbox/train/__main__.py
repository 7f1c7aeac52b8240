"""Trains the shipped sandbox models and writes the shipped data: ``python -m rbr_sandbox.train``.

On Intel processors with AVX-512, each run writes the same bytes, with any number of threads. One process trains the
grader while another process trains the other models. ``--only`` limits the run to some parts.
"""

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from rbr.rulebook import load_rulebook
from rbr_sandbox.train.sandbox_trainer import SEED, STEPS, SandboxTrainer, write_checksums
from rbr_sandbox.train.shipped_data import write_data
from rbr_sandbox.train.training_curves import draw_curves

# Among 0, 0.25, 0.5, 0.75 and 1, this bias gives the over-refusal closest to the paper's human baseline (Table 4). The
# over-refusal is slightly lower than in the paper, which favors the annotators. The model card shows the other values.
ANNOTATOR_BIAS = 0.25
PARTS = ("data", *STEPS)
ENVIRONMENT = {
    # MKL then adds in the same order on every Intel processor with AVX-512, with any number of threads.
    "MKL_CBWR": "AVX512,STRICT",
    # Two processes with two threads each share two cores, so a waiting thread must not occupy a core.
    "OMP_WAIT_POLICY": "passive",
}


def main() -> None:
    """Trains the requested parts, then writes the training curves and the checksums."""
    parser = argparse.ArgumentParser("python -m rbr_sandbox.train", description=__doc__)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS, help="parts to write or train")
    parser.add_argument("--rulebook", default="rulebook", type=Path, help="directory of the rulebook")
    parser.add_argument("--output", default="rbr_sandbox/models", type=Path, help="directory of the trained models")
    parser.add_argument(
        "--base",
        default="var/sandbox_training/base",
        type=Path,
        help="directory of the base model, which does not ship",
    )
    parser.add_argument(
        "--annotator-bias",
        default=ANNOTATOR_BIAS,
        type=float,
        help="bias of the simulated annotators, 0 to 1",
    )
    parser.add_argument(
        "--shorten", default=1, type=int, help="divide every number of steps by this number, for a quick trial"
    )
    parser.add_argument(
        "--threads", default=2, type=int, help="number of threads of each process; does not change the weights"
    )
    parser.add_argument(
        "--continue-grader",
        default=0,
        type=int,
        metavar="STEPS",
        help="let the last stage of the grader go on for STEPS steps, in place of a training from the base",
    )
    parser.add_argument("--seed", default=SEED, type=int, help="seed of --continue-grader")
    options = parser.parse_args()
    trainer = SandboxTrainer(
        options.rulebook,
        options.output,
        options.base,
        options.annotator_bias,
        options.shorten,
        options.threads,
        options.continue_grader,
        options.seed,
    )
    if "data" in options.only:
        write_data(SEED, load_rulebook(options.rulebook))
    os.environ.update(ENVIRONMENT)  # The training processes inherit these variables.
    # Every model starts from the base, so the base comes first. Then each process trains the models of one queue.
    queues = (["grader"], ["policy", "helpful_reward_model", "human_reward_model"])
    requested = [[part for part in queue if part in options.only] for queue in queues]
    with ProcessPoolExecutor(len(queues), mp_context=get_context("spawn")) as pool:
        if "base" in options.only:
            pool.submit(trainer.train, ["base"]).result()
        list(pool.map(trainer.train, filter(None, requested)))
    draw_curves(options.output / "training_curves")
    write_checksums(options.output)


if __name__ == "__main__":
    main()
