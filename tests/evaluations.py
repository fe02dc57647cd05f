"""An evaluation with every kind of figure, and its page."""

from model.evaluation import SEGMENTS, Control, Evaluation, Gain, SegmentFigures

EVALUATION = Evaluation(
    method="choirrec",
    dataset="made-up",
    role="design",
    preset="tiny",
    test_start="2024-01-01T00:00:00",
    test_end="2024-01-08T00:00:00",
    seed=0,
    seeds=2,
    measure="GAUC on the test rows",
    segments={
        name: SegmentFigures(
            rows=40,
            users=7,
            auc=0.61,
            gauc=None if name == "level_5" else 0.6,
            gauc_error=None if name == "level_5" else 0.02,
            logloss=0.4,
            pcoc=1.02,
        )
        for name in SEGMENTS
    },
    controls=(
        Control("choirrec_permuted", "ChoirRec, permuted", 0, None, None),
        Control("din_activity", "DIN + activity", 2, Gain(0.01, -0.02, 0.04), None),
    ),
)
PAGE = "<!doctype html><title>What was measured</title>"
