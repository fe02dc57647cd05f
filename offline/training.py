"""Training: Adagrad over shuffled epochs, deterministic by seed, killed and resumed at will."""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.losses import cross_entropy, total
from model.network.batch import Rows, Split
from model.network.contract import ConversionModel
from model.network.prediction import predict
from offline.checkpoints import Checkpoints
from offline.memory import keep_freed
from offline.progress import track

STRETCH_STEPS = 16
"""Steps over which contexts are sorted by length."""

Validate = Callable[[NDArray[np.float32], Split], float]


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained; the same for every model (docs/model.md)."""

    epochs: int = 1
    """Passes over the training rows, each in an order of its own."""
    batch_rows: int = 1024
    """Rows per step, about: contexts are not split."""
    rate_start: float = 0.01
    """Adagrad's learning rate at the first step."""
    rate_end: float = 0.001
    """The rate at the last step; linear in between."""
    warmup_steps: int = 100
    """Steps over which the rate rises to its line: with an accumulator of 0 the first update of
    every coordinate is a full step."""
    clip_norm: float = 5.0
    """Largest global norm of the gradient of everything but the sparse id tables."""
    unknown_share: float = 0.02
    """Share of contexts whose user is hidden, so that an unknown user's inputs are trained."""
    patience: int = 1
    """Epochs without a better validation score after which training stops."""
    seed: int = 0
    """Decides orders and hidden users; the model's own seed decides its start."""
    threads: int = 2
    """Threads of torch; equal bytes need equal threads."""
    checkpoint_steps: int = 500
    """Steps between two checkpoints."""


@dataclass(frozen=True)
class Epoch:
    """What one pass over the rows did."""

    loss: float
    """Mean training loss (eq. 11)."""
    validation: float | None
    """Validation score, higher is better; None without validation rows, or where undefined."""
    diagnostics: Mapping[str, float]
    """Means over batches of the further losses and diagnostics."""


@dataclass(frozen=True)
class TrainResult:
    """What a training run did; the model holds the best epoch's parameters."""

    steps: int
    """Optimiser steps done, resumed ones included."""
    best_epoch: int
    """Number of the epoch kept, from 0."""
    epochs: tuple[Epoch, ...]
    """One entry per epoch done."""
    rows_per_s: float
    """Training rows per second since this process began or resumed."""


@dataclass
class _State:
    """Where a run stands; everything but the parameters and the accumulators."""

    step: int = 0
    epoch_step: int = 0
    best: float = -float("inf")
    best_epoch: int = 0
    epochs: list[Epoch] = field(default_factory=list)
    sums: dict[str, tuple[float, int]] = field(default_factory=dict)
    finished: bool = False

    def add(self, values: Mapping[str, Tensor]) -> None:
        for name, tensor in values.items():
            value = float(tensor.detach())
            if not math.isnan(value):
                total_so_far, count = self.sums.get(name, (0.0, 0))
                self.sums[name] = (total_so_far + value, count + 1)

    def close_epoch(self, validation: float | None, patience: int) -> bool:
        """Record an epoch; returns whether it is the best so far."""
        means = {name: value / count for name, (value, count) in self.sums.items()}
        self.epochs.append(Epoch(means.pop("loss"), validation, means))
        self.sums, self.epoch_step = {}, 0
        number = len(self.epochs) - 1
        better = validation is None or validation > self.best
        if better:
            self.best, self.best_epoch = validation or 0.0, number
        self.finished = number - self.best_epoch >= patience
        return better


def train(
    model: ConversionModel,
    rows: Split,
    config: TrainConfig,
    folder: Path,
    validation: Split | None = None,
    validate: Validate | None = None,
) -> TrainResult:
    """Train a model in place, or resume its training.

    Two runs of one model, split, config and machine give equal bytes.

    Args:
        model: a model fresh from its seed; its parameters are replaced when a checkpoint exists.
        rows: the training rows.
        config: how to train.
        folder: where checkpoints lie; one folder per run.
        validation: rows that choose the epoch; without them, or where the score is NaN, the last
            epoch is kept.
        validate: the score of (logits ``[N]``, split), higher is better: GAUC of low-activity
            users everywhere (docs/evaluation.md). Needed with ``validation``.

    Returns:
        What was done.

    Raises:
        ValueError: when there are no rows, when one of ``validation`` and ``validate`` is
            missing, or when the folder holds another run's checkpoint.
        FloatingPointError: when the loss is not finite.
    """
    if not len(rows) or (validation is None) != (validate is None):
        raise ValueError(
            f"{len(rows)} training rows, validation {validation is not None}, validate "
            f"{validate is not None}: expected rows, and both of the latter or neither"
        )
    prepare_process(config.threads)
    run = Run(model, rows, config, Checkpoints(folder))
    started, first = time.perf_counter(), run.state.step
    while len(run.state.epochs) < config.epochs and not run.state.finished:
        run.epoch()
        score = None
        if validation is not None and validate is not None:
            score = validate(predict(model, validation).logit, validation)
        run.close_epoch(None if score is None or math.isnan(score) else score)
    done = (run.state.step - first) * config.batch_rows
    return run.result(done / max(time.perf_counter() - started, 1e-9))


def prepare_process(threads: int) -> None:
    """Settings of this process by which training repeats and is quick.

    Args:
        threads: of torch.
    """
    keep_freed()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # Nothing here reads memory that it has not written; filling it would cost a tenth of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    # Says so, because torch warns when nobody chose: Adagrad's sparse tensors are valid anyway.
    torch.sparse.check_sparse_tensor_invariants.disable()  # type: ignore[no-untyped-call]


class Run:
    """One run's model, optimiser and state."""

    def __init__(
        self, model: ConversionModel, rows: Split, config: TrainConfig, checkpoints: Checkpoints
    ) -> None:
        """Begin, or resume from the folder's last checkpoint; for the arguments see ``train``."""
        self.model, self.rows, self.config, self.checkpoints = model, rows, config, checkpoints
        self.optimiser = torch.optim.Adagrad(model.parameters(), lr=config.rate_start, eps=1e-10)
        self.dense = _dense_parameters(model)
        self.epoch_steps = -(-len(rows) // config.batch_rows)
        # Contexts longer than a step make an epoch shorter than this.
        self.total_steps = self.epoch_steps * config.epochs
        self.state = _State()
        self._resume()

    def epoch(self) -> None:
        """Do what is left of the current epoch."""
        number = len(self.state.epochs)
        self.model.train()
        batches = self.batches(number)[self.state.epoch_step :]
        for contexts, unknown in track(batches, f"epoch {number + 1}/{self.config.epochs}"):
            self.step(contexts, unknown)
            if self.state.step % self.config.checkpoint_steps == 0:
                self._save()

    def close_epoch(self, score: float | None) -> None:
        """Record the epoch, keep its parameters if it is the best, write a checkpoint."""
        if self.state.close_epoch(score, self.config.patience):
            self.checkpoints.save_best(_parameters(self.model))
        self._save()

    def result(self, rows_per_s: float) -> TrainResult:
        """Load the best parameters and say what was done."""
        _load(self.model, self.checkpoints.load_best())
        state = self.state
        return TrainResult(state.step, state.best_epoch, tuple(state.epochs), rows_per_s)

    def batches(self, epoch: int) -> list[tuple[Rows, NDArray[np.bool_]]]:
        """Contexts and hidden users of each step; a function of seed and epoch alone.

        A step has whole contexts of about ``batch_rows`` rows together: their candidates share
        the user side, which makes a step three times cheaper than rows drawn one by one.
        """
        rng = np.random.default_rng([self.config.seed, epoch])
        sizes = self.rows.sizes
        order = rng.permutation(np.flatnonzero(sizes))
        # Contexts of like length lie together within a stretch of steps, to pad little.
        stretch = np.cumsum(sizes[order]) // (self.config.batch_rows * STRETCH_STEPS)
        order = order[np.lexsort((sizes[order], stretch))]
        before = np.cumsum(sizes[order]) - sizes[order]
        ends = np.arange(1, self.epoch_steps) * len(self.rows) / self.epoch_steps
        steps = np.split(order, np.unique(np.searchsorted(before, ends)))
        return [
            (steps[n], rng.random(len(steps[n])) < self.config.unknown_share)
            for n in rng.permutation(len(steps)).tolist()
        ]

    def step(self, contexts: Rows, unknown: NDArray[np.bool_]) -> None:
        """Learn from some contexts.

        Args:
            contexts: int64 ``[R]``: whole contexts, together about ``batch_rows`` rows.
            unknown: bool ``[R]``: whose user is hidden.

        Raises:
            FloatingPointError: when the loss is not finite.
        """
        batch = self.rows.context_batch(contexts).with_unknown_users(unknown)
        progress = min(1.0, self.state.step / self.total_steps)
        torch.manual_seed(_step_seed(self.config.seed, self.state.step))
        self.model.at(progress)
        output = self.model(batch)
        weights = self.model.aux_weights(progress)
        prediction = cross_entropy(output.logit, batch.label, batch.candidate_mask)
        loss = total(prediction, output.aux, weights)
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"loss {loss.item()} at step {self.state.step}: expected a finite number; look "
                "for NaN in continuous fields, or lower rate_start"
            )
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.dense, self.config.clip_norm)
        self.optimiser.param_groups[0]["lr"] = self._rate()
        self.optimiser.step()
        self.state.add({"loss": loss, **output.aux, **output.diagnostics})
        self.state.step += 1
        self.state.epoch_step += 1

    def _rate(self) -> float:
        """Learning rate of the current step: warm-up times linear decay (docs/model.md)."""
        config, step = self.config, self.state.step
        done = min(1.0, step / max(self.total_steps - 1, 1))
        line = config.rate_start + (config.rate_end - config.rate_start) * done
        return line * min(1.0, (step + 1) / max(config.warmup_steps, 1))

    def _identity(self) -> str:
        """What a checkpoint must share with the run that resumes it."""
        shapes = {name: list(value.shape) for name, value in self.model.named_parameters()}
        return json.dumps({"config": asdict(self.config), "rows": len(self.rows), "model": shapes})

    def _save(self) -> None:
        accumulators = {
            name: self.optimiser.state[value]["sum"].numpy()
            for name, value in self.model.named_parameters()
        }
        self.checkpoints.save(
            self._identity(), json.dumps(asdict(self.state)), _parameters(self.model), accumulators
        )

    def _resume(self) -> None:
        saved = self.checkpoints.load(self._identity())
        if saved is None:
            return
        _load(self.model, saved.parameters)
        with torch.no_grad():
            for name, value in self.model.named_parameters():
                state = self.optimiser.state[value]
                state["sum"].copy_(torch.from_numpy(saved.accumulators[name]))
        fields = json.loads(saved.state)
        fields["epochs"] = [Epoch(**epoch) for epoch in fields["epochs"]]
        self.state = _State(**fields)


def _step_seed(seed: int, step: int) -> int:
    """A step's own seed: a resumed run draws in each step what the whole run drew."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1)[0])


def _dense_parameters(model: nn.Module) -> list[nn.Parameter]:
    sparse = {
        id(module.weight)
        for module in model.modules()
        if isinstance(module, nn.Embedding) and module.sparse
    }
    return [value for value in model.parameters() if id(value) not in sparse]


def _parameters(model: nn.Module) -> dict[str, NDArray[np.float32]]:
    """The parameters, and what else a model keeps (its persistent buffers)."""
    return {name: value.detach().numpy() for name, value in model.state_dict().items()}


def _load(model: nn.Module, parameters: Mapping[str, NDArray[np.float32]]) -> None:
    with torch.no_grad():
        for name, value in model.state_dict().items():
            value.copy_(torch.from_numpy(parameters[name]))
