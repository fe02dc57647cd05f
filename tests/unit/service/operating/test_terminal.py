"""What an operator is asked and told, by a command against an admin port that a test plays."""

import io
import json
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from service import cli

PLAN: dict[str, Any] = {
    "action": "promote",
    "result": "planned",
    "revision": 4,
    "before": {"champion": "1/g1", "previous": None},
    "after": {"champion": "2/g1", "previous": "1/g1"},
    "guard": {"refused": False, "reasons": [], "evidence": {}},
    "generation": "g1",
    "verdicts": [],
    "warnings": [],
    "seconds": 0.0,
}
VERDICT = {
    "replica": "host:9100",
    "worker": 0,
    "revision": 5,
    "state": "ready",
    "reason": None,
    "seconds": 1.25,
    "bundle_digest": "abc",
}
DONE = PLAN | {"result": "done", "revision": 6, "verdicts": [VERDICT], "seconds": 3.2}


class Terminal(io.StringIO):
    """A standard input that somebody types into."""

    def isatty(self) -> bool:
        """As a terminal says."""
        return True


class Admin:
    """An admin port that answers what a test wants, and keeps what it was asked."""

    def __init__(self, server: HTTPServer) -> None:
        """Serve on a port.

        Args:
            server: bound, not yet serving.
        """
        self.url = f"http://127.0.0.1:{server.server_port}"
        self.asked: list[tuple[str, Any]] = []
        self.keys: list[str | None] = []
        self.refusal: dict[str, Any] | None = None
        self.refused_guard = False
        self.nothing_to_do = False
        self.answers: dict[str, Any] = {}

    def answer(self, path: str, order: Any) -> tuple[int, Any]:
        """Status and document."""
        self.asked.append((path, order))
        if path in self.answers:
            return 200, self.answers[path]
        if order["dry_run"]:
            guard = {"refused": self.refused_guard, "reasons": ["GAUC falls"] * self.refused_guard}
            plan = PLAN | ({"result": "already"} if self.nothing_to_do else {})
            return 200, plan | {"guard": guard}
        return (200, DONE) if self.refusal is None else (409, self.refusal)


@pytest.fixture
def admin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Admin]:
    """The port, named by the settings."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._respond(None)

        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            self._respond(json.loads(self.rfile.read(length)))

        def _respond(self, order: Any) -> None:
            played.keys.append(self.headers["x-api-key"])
            status, document = played.answer(self.path, order)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(document).encode())

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    played = Admin(server)
    monkeypatch.setenv("CHOIRREC_ADMIN_PORT", str(server.server_port))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield played
    server.shutdown()
    thread.join()
    server.server_close()


def _type(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(text))


def test_order_is_shown_agreed_to_and_carried_out(
    admin: Admin, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal the reason is asked for, then the plan is shown, then consent is asked for."""
    _type(monkeypatch, "a better model\ny\n")
    assert cli.main(["promote", "2", "--who", "ann"]) == 0
    told = capsys.readouterr()
    assert "Why? " in told.err
    assert "would change" in told.err
    assert "Go ahead? [y/N]" in told.err
    assert "promote: done, revision 6, 3.2 s" in told.out
    assert "host:9100  0       5         ready  1.2 s" in told.out
    assert [order["dry_run"] for _, order in admin.asked] == [True, False]
    assert {(o["who"], o["why"]) for _, o in admin.asked} == {("ann", "a better model")}
    (_, agreed) = admin.asked[1]
    assert (agreed["revision"], agreed["generation"]) == (PLAN["revision"], PLAN["generation"])


def test_nothing_to_do_is_told_and_not_asked_about(
    admin: Admin, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who comes second learns that it is done, and cannot undo it by agreeing."""
    admin.nothing_to_do = True
    _type(monkeypatch, "y\n")
    assert cli.main(["rollback", "--why", "orders fell"]) == 0
    assert [order["dry_run"] for _, order in admin.asked] == [True]
    assert "nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize("answer", ["n\n", "\n", "", "yes please\n"])
def test_anything_but_yes_changes_nothing(
    admin: Admin, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    """Enter, end of input and doubt all mean no; the exit code says that it was not done."""
    _type(monkeypatch, answer)
    assert cli.main(["rollback", "--why", "orders fell"]) == 1
    assert [order["dry_run"] for _, order in admin.asked] == [True]


@pytest.mark.parametrize("line", ["promote 2", "promote 2 --why because", "promote 2 --yes"])
def test_without_a_terminal_nothing_is_guessed(
    admin: Admin,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    line: str,
) -> None:
    """A script must bring its reason and its consent along."""
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert cli.main(line.split()) == 2
    assert admin.asked == []
    assert "--why" in (said := capsys.readouterr().err) or "--yes" in said


def test_script_with_reason_and_consent_asks_once(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --why and --yes one call is made, by user@host unless another is named."""
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert cli.main(["promote", "2", "--why", "nightly", "--yes"]) == 0
    ((path, order),) = admin.asked
    assert path == "/admin/promote"
    assert "@" in order["who"]


def test_guard_is_heard_before_consent_is_asked_for(
    admin: Admin, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A refusal ends the command, unless --force says that the operator knows better."""
    admin.refused_guard = True
    _type(monkeypatch, "y\n")
    assert cli.main(["promote", "2", "--why", "w"]) == 1
    assert "GAUC falls" in capsys.readouterr().err
    _type(monkeypatch, "y\n")
    assert cli.main(["promote", "2", "--why", "w", "--force"]) == 0


def test_refusal_tells_every_verdict_and_exits_1(
    admin: Admin, capsys: pytest.CaptureFixture[str]
) -> None:
    """The operator reads which worker said what; programs get the problem document."""
    failed = VERDICT | {"state": "failed", "reason": "no memory"}
    admin.refusal = {"detail": "2/g1 is not ready everywhere", "verdicts": [failed]}
    assert cli.main(["promote", "2", "--why", "w", "--yes"]) == 1
    told = capsys.readouterr()
    assert "2/g1 is not ready everywhere" in told.err
    assert "failed  1.2 s      no memory" in told.err
    assert told.out == ""
    assert cli.main(["promote", "2", "--why", "w", "--yes", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == admin.refusal


def test_dry_run_needs_no_consent(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    """What would change is printed, and nothing else is asked for."""
    assert cli.main(["promote", "2", "--why", "w", "--dry-run"]) == 0
    assert "champion  1/g1    2/g1" in capsys.readouterr().out
    assert [order["dry_run"] for _, order in admin.asked] == [True]


@pytest.mark.parametrize(("extra", "code"), [((), 1), (("--json",), 1), (("--force",), 0)])
def test_dry_run_of_what_a_guard_refuses_fails(
    admin: Admin, capsys: pytest.CaptureFixture[str], extra: Sequence[str], code: int
) -> None:
    """A script that goes on after a dry run does not go on to a refusal."""
    admin.refused_guard = True
    assert cli.main(["promote", "2", "--why", "w", "--dry-run", *extra]) == code
    told = capsys.readouterr()
    assert ("GAUC falls" in told.out, "the guard refuses" in told.err) == (True, code == 1)


def test_key_goes_along(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    """The admin key of the settings is sent, and none where there is none."""
    cli.main(["rollback", "--why", "w", "--yes"])
    monkeypatch.setenv("CHOIRREC_ADMIN_KEY", "secret")
    cli.main(["rollback", "--why", "w", "--yes"])
    assert admin.keys == [None, "secret"]


def test_status_names_every_worker(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    """Roles, the last change and who follows it are one glance; trouble comes first."""
    target = {"version": 3, "generation": "g1", "state": "failed", "reason": "no memory"}
    worker = {
        "worker": 0,
        "pid": 12,
        "revision": 5,
        "ready": True,
        "draining": False,
        "champion": "2/g1",
        "canary": None,
        "targets": [target],
    }
    change = {"action": "promote", "who": "ann", "why": "better", "when_s": 0, "forced": False}
    status: dict[str, Any] = {
        "trouble": None,
        "warnings": [],
        "shadow": [],
        "replica": "host:9100",
        "converged": True,
        "roles": {"champion": "2/g1", "previous": None},
        "desired": {"revision": 5, "change": change},
        "replicas": [
            {"replica": "host:9100", "workers": [worker]},
            {"replica": "other", "workers": []},
        ],
    }
    admin.answers["/admin/state"] = status
    assert cli.main(["status"]) == 0
    told = capsys.readouterr().out
    assert "champion  2/g1\n" in told
    assert "revision 5, 1970-01-01 00:00:00: promote by ann: better\nevery worker" in told
    assert "3/g1 failed: no memory" in told
    assert "no worker runs" in told
    status |= {"trouble": "the state's Redis: refused", "converged": False}
    worker["ready"] = False
    assert cli.main(["status"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("TROUBLE: the state's Redis: refused")
    assert "NOT YET FOLLOWED" in told
    assert "not ready, 3/g1" in told
    admin.answers["/admin/state"] = status | {"desired": None, "roles": None}
    assert cli.main(["status"]) == 0
    assert "no desired state yet" in capsys.readouterr().out
    assert cli.main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["replica"] == "host:9100"


def test_warnings_stand_above_orders_and_status(
    admin: Admin, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A replica that fell silent is not overlooked by whoever reads the first line."""
    warning = "replica b has not reported for 7 s"
    monkeypatch.setitem(DONE, "warnings", [warning])
    assert cli.main(["promote", "2", "--why", "w", "--yes"]) == 0
    assert capsys.readouterr().out.startswith(f"WARNING: {warning}\n")
    admin.answers["/admin/state"] = {
        "trouble": None,
        "warnings": [warning],
        "shadow": [],
        "converged": False,
        "roles": None,
        "desired": None,
        "replicas": [],
    }
    assert cli.main(["status"]) == 0
    assert capsys.readouterr().out.startswith(f"WARNING: {warning}\n")


def test_status_says_how_the_shadow_stands(
    admin: Admin, capsys: pytest.CaptureFixture[str]
) -> None:
    """A shadow that cannot load is seen without another command."""
    change = {"action": "shadow", "who": "ann", "why": "better", "when_s": 0, "forced": False}
    failed = VERDICT | {"worker": -2, "state": "failed", "reason": "no memory", "seconds": None}
    admin.answers["/admin/state"] = {
        "trouble": None,
        "warnings": [],
        "shadow": [failed],
        "converged": True,
        "roles": {"champion": "1/g1", "shadow": "2/g1 on 10 %"},
        "desired": {"revision": 5, "change": change},
        "replicas": [],
    }
    assert cli.main(["status"]) == 0
    told = capsys.readouterr().out
    assert "shadow 2/g1 on 10 %:\n" in told
    assert "host:9100  comparison  5         failed  -          no memory" in told


def test_history_is_a_line_per_revision(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    """Who changed what, when and why, newest first, forced changes marked."""
    change = {"action": "activate", "who": "ann", "why": "better", "when_s": 0, "forced": True}
    target = {"version": 2, "generation": "g1"}
    entry = {"revision": 3, "champion": target, "canary": {"target": target}, "change": change}
    first = entry | {"revision": 1, "canary": None, "change": change | {"forced": False}}
    admin.answers["/admin/history?limit=2"] = [entry, first]
    assert cli.main(["history", "--limit", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split("  ")[0] == "3"
    assert "ann  activate (forced)  2/g1      2/g1    better" in lines[1]
    assert "ann  activate           2/g1      -       better" in lines[2]


def test_silence_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A service that is not there is an exit code of 1 and a question, a wrong URL one of 2."""
    assert cli.main(["status", "--admin", "http://127.0.0.1:9"]) == 1
    assert "is the service running?" in capsys.readouterr().err
    assert cli.main(["status", "--admin", "ftp://127.0.0.1"]) == 2


def test_watching_ends_with_ctrl_c(
    admin: Admin, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The status comes again every second until the operator has seen enough."""
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", sleep)
    empty: dict[str, Any]
    empty = {"trouble": None, "converged": False, "roles": None, "desired": None, "replicas": []}
    empty |= {"warnings": [], "shadow": []}
    admin.answers["/admin/state"] = empty
    assert cli.main(["status", "--watch"]) == 0
    assert capsys.readouterr().out.count("no desired state yet") == 2
    assert slept == [1.0, 1.0]


def test_operator_without_a_name_is_unknown(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container whose user has no entry in the password file operates all the same."""

    def nameless() -> str:
        raise OSError("no entry")

    monkeypatch.setattr("getpass.getuser", nameless)
    assert cli.main(["rollback", "--why", "w", "--yes"]) == 0
    assert admin.asked[0][1]["who"].startswith("unknown@")


def test_reason_of_several_lines_forges_no_entry(
    admin: Admin, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever stands in the store, each revision is one line of the history and the status."""
    change = {"action": "promote", "who": "ann", "when_s": 0, "forced": False}
    change["why"] = "ok\n99  2026-11-20 12:00:00  boss  promote  9/g1  -  fake\x1b[2J"
    entry = {"revision": 3, "champion": {"version": 2, "generation": "g1"}, "canary": None}
    admin.answers["/admin/history?limit=20"] = [entry | {"change": change}]
    assert cli.main(["history"]) == 0
    told = capsys.readouterr().out
    assert len(told.splitlines()) == 2
    assert r"ok\n99  2026" in told
    assert r"fake\x1b[2J" in told
    desired = {"revision": 3, "change": change}
    admin.answers["/admin/state"] = {
        "trouble": "one\ntwo",
        "warnings": [],
        "shadow": [],
        "converged": True,
        "roles": {"champion": "2/g1"},
        "desired": desired,
        "replicas": [],
    }
    assert cli.main(["status"]) == 0
    told = capsys.readouterr().out
    assert r"ok\n99" in told
    assert told.startswith(r"TROUBLE: one\ntwo")


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("--why", "x" * 1001),
        ("--why", "ok\n99  2026-11-20 12:00:00  boss"),
        ("--who", "x" * 129),
        ("--who", "a\x1b[2J"),
        ("--who", "  "),
    ],
)
def test_text_that_the_audit_log_does_not_take_is_wrong_usage(
    admin: Admin, capsys: pytest.CaptureFixture[str], option: str, text: str
) -> None:
    """The mistake is named by its option, before anybody is asked."""
    line = ["promote", "2", "--why", "better", "--who", "ann", "--yes", option, text]
    assert cli.main(line) == 2
    assert admin.asked == []
    told = capsys.readouterr().err
    assert f"promote: {option}" in told
    assert "expected one line of printable text" in told
    assert len(told.splitlines()) == 1


def test_ctrl_c_at_the_question_changes_nothing(
    admin: Admin, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever breaks off is told that nothing was changed, in one line."""

    def interrupted() -> str:
        raise KeyboardInterrupt

    terminal = Terminal()
    monkeypatch.setattr(terminal, "readline", interrupted)
    monkeypatch.setattr("sys.stdin", terminal)
    assert cli.main(["rollback", "--why", "orders fell"]) == 1
    assert "interrupted; nothing was changed" in capsys.readouterr().err
    assert [order["dry_run"] for _, order in admin.asked] == [True]


def test_ctrl_c_while_an_order_runs_says_that_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command ends; the order does not, and the operator learns where to look."""

    def post(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("service.operating.admin_client.AdminClient.post", post)
    assert cli.main(["rollback", "--why", "orders fell", "--yes"]) == 1
    assert "the order goes on, see choirrec-serve status" in capsys.readouterr().err
