"""Training: it learns, repeats by seed, and survives being killed."""

import math
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.baselines.din import Din
from model.losses import LossConfig
from model.network.batch import Batch, Rows, Split
from model.network.choirrec import ChoirRec
from model.network.contract import ConversionModel
from model.network.prediction import predict
from offline.evaluation import evaluate, gauc_low
from offline.training import TrainConfig, train
from tests.baselines import MODELS
from tests.synthetic import TINY, World, world

DRAWN = world(rows=200)
SHORT = TrainConfig(epochs=3, batch_rows=32, warmup_steps=3, checkpoint_steps=4, threads=1)

Make = Callable[[World], ConversionModel]


def din(drawn: World) -> ConversionModel:
    """A fresh DIN."""
    return Din(drawn.spec, TINY, drawn.lookups, seed=1)


def choirrec(drawn: World) -> ConversionModel:
    """A fresh ChoirRec of the identified preset."""
    return ChoirRec(drawn.spec, TINY, drawn.lookups, LossConfig.identified(3), seed=1)


every_model = pytest.mark.parametrize("make", [din, choirrec])


def parameters(model: ConversionModel) -> dict[str, bytes]:
    """A model's parameters as bytes."""
    return {name: value.numpy().tobytes() for name, value in model.state_dict().items()}


class Killed(Exception):
    """Stands for a process killed in the middle of training."""


class Mortal(Split):
    """A split that dies after some batches."""

    deaths: int

    def context_batch(self, rows: Rows) -> Batch:
        """Gather rows, or die."""
        object.__setattr__(self, "deaths", self.deaths - 1)
        if self.deaths < 0:
            raise Killed
        return super().context_batch(rows)


def mortal(split: Split, batches: int) -> Mortal:
    """The same rows, for a limited number of batches."""
    dying = Mortal(**{field.name: getattr(split, field.name) for field in fields(Split)})
    object.__setattr__(dying, "deaths", batches)
    return dying


@every_model
def test_a_model_can_learn_sixty_four_rows_by_heart(make: Make, tmp_path: Path) -> None:
    """In 300 steps the log loss on 64 rows falls below 0.05: every part can learn."""
    drawn = world(rows=64, contexts=64)
    once = replace(drawn.split, row_context=np.arange(64))
    config = TrainConfig(
        epochs=300,
        batch_rows=64,
        rate_start=0.05,
        rate_end=0.05,
        warmup_steps=20,
        unknown_share=0,
        threads=1,
    )
    model = make(drawn)
    train(model, once, config, tmp_path)
    assert evaluate(predict(model, once).logit, once).overall.logloss < 0.05


def test_an_epoch_sees_every_row_once(tmp_path: Path) -> None:
    """Whole contexts make a step, and no row is lost or seen twice in an epoch."""
    seen: list[NDArray[np.int64]] = []

    class Watched(Split):
        def context_batch(self, contexts: Rows) -> Batch:
            seen.append(contexts)
            batch = super().context_batch(contexts)
            assert batch.candidate_mask is not None
            assert int(batch.candidate_mask.sum()) == int(self.sizes[contexts].sum())
            return batch

    watched = Watched(**{field.name: getattr(DRAWN.split, field.name) for field in fields(Split)})
    train(din(DRAWN), watched, replace(SHORT, epochs=1), tmp_path)
    contexts = np.sort(np.concatenate(seen))
    assert contexts.tolist() == np.unique(DRAWN.split.row_context).tolist()
    assert len(seen) == pytest.approx(len(DRAWN.split) / SHORT.batch_rows, abs=1)


@every_model
def test_two_runs_of_one_seed_give_equal_bytes(make: Make, tmp_path: Path) -> None:
    """Training repeats to the bit; another seed gives another model."""
    models = [make(DRAWN) for _ in range(3)]
    train(models[0], DRAWN.split, SHORT, tmp_path / "a")
    train(models[1], DRAWN.split, SHORT, tmp_path / "b")
    train(models[2], DRAWN.split, replace(SHORT, seed=5), tmp_path / "c")
    assert parameters(models[0]) == parameters(models[1])
    assert parameters(models[0]) != parameters(models[2])


@every_model
@pytest.mark.parametrize("batches", [1, 5, 9, 14, 19])
def test_a_killed_and_resumed_run_equals_the_uninterrupted_one(
    make: Make, batches: int, tmp_path: Path
) -> None:
    """Wherever it is killed, a resumed run ends with the same bytes and the same record."""
    whole, broken, resumed = make(DRAWN), make(DRAWN), make(DRAWN)
    expected = train(whole, DRAWN.split, SHORT, tmp_path / "a", DRAWN.split, gauc_low)
    with pytest.raises(Killed):
        train(broken, mortal(DRAWN.split, batches), SHORT, tmp_path / "b", DRAWN.split, gauc_low)
    found = train(resumed, DRAWN.split, SHORT, tmp_path / "b", DRAWN.split, gauc_low)
    assert parameters(resumed) == parameters(whole)
    assert (found.epochs, found.best_epoch) == (expected.epochs, expected.best_epoch)
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize("name", ["melt", "uie"])
def test_what_a_model_draws_and_keeps_survives_a_kill(name: str, tmp_path: Path) -> None:
    """Models that draw by chance and change themselves resume to the same bytes too."""
    whole, broken, resumed = (MODELS[name](DRAWN, TINY, 1) for _ in range(3))
    train(whole, DRAWN.split, SHORT, tmp_path / "a")
    with pytest.raises(Killed):
        train(broken, mortal(DRAWN.split, 14), SHORT, tmp_path / "b")
    train(resumed, DRAWN.split, SHORT, tmp_path / "b")
    assert parameters(resumed) == parameters(whole)


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    """Resuming a finished run loads its model without a step."""
    first, second = din(DRAWN), din(DRAWN)
    expected = train(first, DRAWN.split, SHORT, tmp_path)
    found = train(second, mortal(DRAWN.split, 0), SHORT, tmp_path)
    assert parameters(first) == parameters(second)
    assert found.steps == expected.steps


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    """Another config or a damaged file is an error that says how to mend it, never a resume."""
    train(din(DRAWN), DRAWN.split, SHORT, tmp_path)
    with pytest.raises(ValueError, match="remove the folder"):
        train(din(DRAWN), DRAWN.split, replace(SHORT, seed=9), tmp_path)
    (tmp_path / "last.npz").write_bytes(b"half a checkpoint")
    with pytest.raises(ValueError, match="no readable checkpoint"):
        train(din(DRAWN), DRAWN.split, SHORT, tmp_path)


def test_the_epoch_with_the_best_validation_is_kept(tmp_path: Path) -> None:
    """Training stops after an epoch without gain and hands back the parameters of the best."""
    scores = iter([0.5, 0.7, 0.6, 0.9])
    seen: list[dict[str, bytes]] = []
    model = din(DRAWN)

    def validate(_: NDArray[np.float32], __: Split) -> float:
        seen.append(parameters(model))
        return next(scores)

    config = replace(SHORT, epochs=4)
    result = train(model, DRAWN.split, config, tmp_path, DRAWN.split, validate)
    assert result.best_epoch == 1
    assert [epoch.validation for epoch in result.epochs] == [0.5, 0.7, 0.6]
    assert parameters(model) == seen[1]


def test_an_undefined_validation_keeps_the_last_epoch(tmp_path: Path) -> None:
    """Without a user of both classes there is nothing to choose by: training runs to its end."""
    config = replace(SHORT, epochs=2)
    result = train(din(DRAWN), DRAWN.split, config, tmp_path, DRAWN.split, lambda *_: math.nan)
    assert result.best_epoch == 1
    assert [epoch.validation for epoch in result.epochs] == [None, None]


def test_the_rate_warms_up_and_falls_to_its_end(tmp_path: Path) -> None:
    """The learning rate rises over the warm-up and ends where it should."""
    rates: list[float] = []
    step = torch.optim.Adagrad.step

    def spy(optimiser: torch.optim.Adagrad) -> None:
        rates.append(optimiser.param_groups[0]["lr"])
        step(optimiser)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.Adagrad, "step", spy)
        train(din(DRAWN), DRAWN.split, replace(SHORT, warmup_steps=5), tmp_path)
    assert len(rates) == 21
    assert rates[0] == pytest.approx(0.01 / 5)
    assert rates[:5] == sorted(rates[:5])
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert rates[-1] == pytest.approx(0.001)


def test_a_share_of_users_is_hidden(tmp_path: Path) -> None:
    """Hidden users train the out-of-vocabulary row even when every id is frequent."""
    drawn = world(rows=200)
    frequent = np.arange(drawn.spec.user_rows)
    drawn = World(drawn.spec, replace(drawn.lookups, user_id_row=frequent), drawn.split)
    for share, moves in ((0.0, False), (0.3, True)):
        model = Din(drawn.spec, TINY, drawn.lookups, seed=1)
        before = model.tables.user.weight[1].clone()
        config = replace(SHORT, epochs=1, unknown_share=share)
        train(model, drawn.split, config, tmp_path / str(share))
        assert bool((model.tables.user.weight[1] != before).any()) is moves


def test_loss_falls_and_is_recorded(tmp_path: Path) -> None:
    """Every epoch's mean loss, further losses and diagnostics are in the result."""
    config = replace(SHORT, epochs=8)
    epochs = train(choirrec(DRAWN), DRAWN.split, config, tmp_path).epochs
    assert epochs[-1].loss < epochs[0].loss
    assert {"distillation", "individual", "group", "alpha_fusion", "qualified"} <= set(
        epochs[0].diagnostics
    )


def test_bad_rows_stop_training_with_a_reason(tmp_path: Path) -> None:
    """A NaN in a feature is reported at its step; no rows, or half a validation, are refused."""
    users = replace(DRAWN.split.users, continuous=np.full((60, 2), math.nan, np.float32))
    with pytest.raises(FloatingPointError, match="step 0"):
        train(din(DRAWN), replace(DRAWN.split, users=users), SHORT, tmp_path / "a")
    with pytest.raises(ValueError, match="expected rows"):
        train(din(DRAWN), DRAWN.split, SHORT, tmp_path / "b", DRAWN.split)
