"""The load test against the live service and a real Redis."""

from pathlib import Path

from tests.fixtures.bundles import AS_OF_S, DAY_S, ITEMS, SPEC, World
from tests.fixtures.load import run_load, write_traffic
from tests.fixtures.services import LiveService


def test_live_service_passes_its_load_test(live: LiveService, world: World, tmp_path: Path) -> None:
    """Under load every call is answered in full, in order, and counted once on both sides."""
    levels = {u.user_id: SPEC.activity_level(u.window_purchases) for u in world.users.values()}
    write_traffic(tmp_path, live.scoring_url, levels, ITEMS, AS_OF_S + DAY_S)
    run = run_load(tmp_path, "1,40", 2)
    assert (run.code, run.failures) == (0, 0), run.said
    assert run.calls > 0
    assert live.metric('choirrec_requests_total{code="200",route="score"}') == run.calls
    assert live.metric('choirrec_ladder_steps_total{step="user_and_group"}') == run.calls
