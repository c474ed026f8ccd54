import errno
import fcntl
import json
import os
import threading

import pytest

from mmssr_jax.core.errors import UserError
from mmssr_jax.judge.ledger import Ledger, LedgerEntry, read_ledger


def entry(name, **kw):
    return LedgerEntry(**{"id": name, "judge": "j", "prompt_hash": "p", "raw": "{}", **kw})


def write(path, *entries):
    with Ledger(path) as ledger:
        for e in entries:
            ledger.append(e)


def ids(path):
    return [e.id for e in read_ledger(path)]


def test_round_trip(tmp_path):
    path = tmp_path / "judge" / "ledger.jsonl"
    written = [entry("a", usage={"prompt_tokens": 3}, cost=0.5, raw="é\n\u2028"), entry("b", outcome="skip", raw=None)]
    write(path, *written)
    assert list(read_ledger(path)) == written
    assert len(path.read_bytes().splitlines()) >= 2
    assert path.read_bytes().count(b"\n") == 2


def test_state_after_opening(tmp_path):
    path = tmp_path / "l.jsonl"
    write(
        path,
        entry("a", cost=0.25),
        entry("b", outcome="retry", reason="invalid", cost=0.5),
        entry("c", outcome="skip", reason="refusal"),
        entry("d", outcome="skip", reason="timeout"),
        entry("a", repeat=1, outcome="retry"),
    )
    with Ledger(path, ask_again=("timeout",)) as ledger:
        assert ledger.settled == {("j", "p", "a", 0), ("j", "p", "c", 0)}
        assert ledger.attempts == {("j", "p", "b", 0): 1, ("j", "p", "d", 0): 0, ("j", "p", "a", 1): 1}
        assert ledger.requests == 5
        assert ledger.spent == pytest.approx(0.75)


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_a_torn_last_line_is_cut_off(tmp_path, cut):
    path = tmp_path / "l.jsonl"
    write(path, entry("a"), entry("b"), entry("c"))
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1] + lines[2][:cut])
    assert ids(path) == ["a", "b"]
    write(path, entry("d"))
    assert ids(path) == ["a", "b", "d"]


def test_a_last_line_that_lacks_only_its_newline_is_kept(tmp_path):
    path = tmp_path / "l.jsonl"
    write(path, entry("a"), entry("b"))
    path.write_bytes(path.read_bytes()[:-1])
    write(path, entry("c"))
    assert ids(path) == ["a", "b", "c"]


def test_a_torn_line_longer_than_a_block(tmp_path):
    path = tmp_path / "l.jsonl"
    write(path, entry("a"), entry("b", raw="x" * 200_000))
    path.write_bytes(path.read_bytes()[:-100])
    write(path, entry("c"))
    assert ids(path) == ["a", "c"]


def test_a_broken_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / "l.jsonl"
    write(path, entry("a"))
    path.write_bytes(b'{"id": 3}\n' + path.read_bytes())
    for _ in range(2):  # the file is let go of
        with pytest.raises(UserError, match=r"l\.jsonl:1: not a ledger line"):
            Ledger(path)


def test_one_process_at_a_time(tmp_path):
    path = tmp_path / "l.jsonl"
    with Ledger(path), pytest.raises(UserError, match="in use"):
        Ledger(path)
    Ledger(path).close()


def test_a_file_system_without_locks_is_no_other_run(tmp_path, monkeypatch):
    def none(*args):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with Ledger(tmp_path / "l.jsonl") as ledger:
        ledger.append(entry("a"))
    assert ids(tmp_path / "l.jsonl") == ["a"]


def test_secrets_never_reach_the_file(tmp_path):
    path = tmp_path / "l.jsonl"
    with Ledger(path) as ledger:
        ledger.add_secret("sk-12345")
        ledger.append(entry("a", raw="key sk-12345 is wrong", request_id="sk-12345"))
    assert b"sk-12345" not in path.read_bytes()
    assert ids(path) == ["a"]


def test_a_secret_within_a_repr_never_reaches_the_file(tmp_path):
    path, secret = tmp_path / "l.jsonl", "sk-AAAABBBB\nsk-CCCCDDDD"
    with Ledger(path) as ledger:
        ledger.add_secret(secret)
        ledger.append(entry("a", detail=f"Illegal header value {f'Bearer {secret}'.encode()!r}"))
        ledger.append(entry("b", detail="no such key: sk-CCCCDDDD"))
    assert [e.detail for e in read_ledger(path)] == ["Illegal header value b'Bearer [secret]'", "no such key: [secret]"]


@pytest.mark.parametrize("secret", ["a", "1", "x", "id", "judge", "ok", "EMPTY"])
def test_a_dummy_key_destroys_nothing(tmp_path, secret):
    path = tmp_path / "l.jsonl"
    written = entry("a", raw='{"ocr": 1, "note": "x EMPTY"}', detail="ok, judge", model="x")
    with Ledger(path) as ledger:
        ledger.add_secret(secret)
        ledger.append(written)
        assert ledger.redact("a message of the judge") == "a message of the judge"
    assert list(read_ledger(path)) == [written]


def test_a_key_is_not_redacted_in_structural_fields(tmp_path):
    path = tmp_path / "l.jsonl"
    written = entry("sample-0001", judge="sample-0001", model="sample-0001", usage={"sample-0001": 3})
    with Ledger(path) as ledger:
        ledger.add_secret("sample-0001")
        ledger.append(written)
    assert list(read_ledger(path)) == [written]


def test_each_group_is_written_and_synced(tmp_path, monkeypatch):
    synced = threading.Event()
    sizes = []
    path = tmp_path / "l.jsonl"
    real = os.fsync

    def fsync(fd):
        real(fd)
        sizes.append(os.fstat(fd).st_size)
        if path.exists() and path.read_bytes().count(b"\n") == 1:
            synced.set()

    ledger = Ledger(path, commit_every=0.01)
    monkeypatch.setattr(os, "fsync", fsync)
    ledger.append(entry("a"))
    assert synced.wait(5)  # without closing
    ledger.close()
    assert ids(path) == ["a"]


def test_a_full_disk_is_one_clear_line(tmp_path, monkeypatch):
    path = tmp_path / "l.jsonl"
    ledger = Ledger(path, commit_every=0.01)
    real = os.write

    def write(fd, data):
        if fd == ledger._fd:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data)

    monkeypatch.setattr(os, "write", write)
    ledger.append(entry("a"))
    with pytest.raises(UserError, match=r"cannot be written: No space left on device; make room"):
        ledger.close()


def test_many_writers_lose_nothing(tmp_path):
    path = tmp_path / "l.jsonl"
    with Ledger(path, commit_every=0.001) as ledger:
        threads = [
            threading.Thread(target=lambda t=t: [ledger.append(entry(f"{t}-{i}")) for i in range(200)])
            for t in range(4)
        ]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert sorted(ids(path)) == sorted(f"{t}-{i}" for t in range(4) for i in range(200))
    assert all(json.loads(line) for line in path.read_text().splitlines())


@pytest.mark.parametrize(
    "line",
    [b'{"id": "a", "judge": "j", "prompt_hash": ["h"]}', b"[1]", b"null", b'{"id": "a"}', b"[" * 100_000,
     b'{"id": "a", "judge": "j", "prompt_hash": "h", "usage": null}'],
)  # fmt: skip
def test_a_line_that_is_json_but_no_entry_is_named(tmp_path, line):
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(line + b"\n")
    with pytest.raises(UserError, match=r"ledger.jsonl:1: not a ledger line"):
        Ledger(path)
