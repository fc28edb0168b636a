"""backfill: many users at once on a local Ray."""

import json

import pytest


def line(user, *texts):
    return json.dumps({"user_id": user, "messages": [{"role": "user", "content": text} for text in texts]})


@pytest.fixture
def export(here):
    chats = [
        line("ada", "Please keep your answers short.", "I love a good joke."),
        line("ben", "Please explain everything at length."),
        line("ada", "Which tea helps me sleep?"),
    ]
    path = here / "export.jsonl"
    path.write_text("\n".join(chats))
    return path


@pytest.fixture
def alone(monkeypatch):
    """Encode in this process instead of on Ray."""
    from persona_align.commands import backfill

    class Here(backfill._Workers):
        def __enter__(self):
            self.encode = backfill._Encode(self._encoder)
            return self

        def __exit__(self, *error):
            self.encode._aligner.close()

        def write(self, aligner, window):
            if self.crash_after is not None and self.crash_after <= 0:
                raise KeyboardInterrupt
            Here.crash_after = None if self.crash_after is None else self.crash_after - 1
            yield from super().write(aligner, window)

        def _encoded(self, rows):
            import numpy as np

            batch = {"user": np.array([row["user"] for row in rows]), "record": np.array([r["record"] for r in rows])}
            encoded = self.encode(batch)
            yield {"user": encoded["user"], "entry": np.array(encoded["entry"], dtype=object)}

        crash_after = None

    monkeypatch.setattr(backfill, "_Workers", Here)
    return Here


def texts(run, user):
    return [record["text"] for record in json.loads(run("export", user).stdout)["records"]]


def test_users_are_kept_apart_and_order_is_kept(run, export, alone):
    assert json.loads(run("backfill", export, "--json").stdout) == {"users": 2, "records": 4, "new": 4}
    assert texts(run, "ada") == [
        "Please keep your answers short.",
        "I love a good joke.",
        "Which tea helps me sleep?",
    ]
    assert texts(run, "ben") == ["Please explain everything at length."]


def test_what_was_interrupted_goes_on_and_nothing_is_twice(run, export, alone, monkeypatch):
    from persona_align.commands import backfill

    monkeypatch.setattr(backfill, "_WINDOW", 2)
    alone.crash_after = 1
    run("backfill", export, code=130)
    assert len(texts(run, "ada")) == 2
    alone.crash_after = None
    assert json.loads(run("backfill", export, "--json").stdout) == {"users": 2, "records": 4, "new": 2}
    assert json.loads(run("backfill", export, "--json").stdout)["new"] == 0
    assert len(texts(run, "ada")) == 3


def test_a_folder_has_a_file_for_each_user(run, here, alone):
    folder = here / "users"
    folder.mkdir()
    (folder / "ada.json").write_text('[{"role": "user", "content": "Short, please."}]')
    (folder / "ben.jsonl").write_text('{"role": "user", "content": "Hello."}\n')
    assert json.loads(run("backfill", folder, "--json").stdout)["users"] == 2
    assert texts(run, "ben") == ["Hello."]


@pytest.mark.parametrize(
    ("last", "said"),
    [('{"messages": []}', "line 4: user_id is missing"), ('{"user_id": "eve", "mess', "line 4: the JSON ends")],
)
def test_nothing_of_a_broken_export_is_recorded(run, export, here, last, said):
    export.write_text(export.read_text() + "\n" + last)
    assert said in run("backfill", export, code=1).stderr
    assert not (here / "persona-align-memory").exists()


def test_without_ray_the_extra_is_named(run, export, monkeypatch):
    from persona_align.commands import backfill

    monkeypatch.setattr(backfill.util, "find_spec", lambda name: None)
    assert "persona-align[ray]" in run("backfill", export, code=1).stderr


@pytest.mark.slow
def test_two_ray_workers(run, export, here):
    import os
    import subprocess
    import sys

    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    script = "from persona_align.cli import main; main()"

    command = [sys.executable, "-c", script, "backfill", str(export), "--workers", "2", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=here, check=False, env={**os.environ})
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == {"users": 2, "records": 4, "new": 4}
    assert json.loads(run("backfill", export, "--json").stdout)["new"] == 0  # nothing new: no Ray is started
    assert len(texts(run, "ada")) == 3
