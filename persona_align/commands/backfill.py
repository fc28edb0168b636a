"""`persona-align backfill`: many users' histories at once, encoded by several workers on Ray Data."""

import json
import os
import pickle
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib import util
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persona_align.commands.console import print_json, progress, waiting
from persona_align.commands.opening import opened
from persona_align.commands.options import DEFAULT_STORE, AsJson, Encoder, FormatName, Store
from persona_align.errors import MissingExtraError

if TYPE_CHECKING:
    from persona_align.aligner import PersonaAligner
    from persona_align.formats.conversation import FileRecord

__all__ = ["backfill"]

_WINDOW = 100_000
"""Records that are handed to the workers together; between two windows nothing is under way."""
_BATCH = 64

Said = tuple[str, "FileRecord"]


def backfill(
    export: Annotated[
        Path,
        typer.Argument(metavar="EXPORT", help="A file of many users' conversations, or a folder: one file a user."),
    ],
    workers: Annotated[int, typer.Option("--workers", "-w", min=1, help="Processes that encode.")] = 1,
    user_field: Annotated[
        str, typer.Option("--user-field", help="The field of a conversation that names its user.")
    ] = "user_id",
    format: Annotated[FormatName, typer.Option("--format", "-f", help="How the files are written.")] = "auto",
    address: Annotated[
        str, typer.Option("--ray", metavar="ADDRESS", help="A running Ray cluster; local starts one here.")
    ] = "local",
    store: Store = DEFAULT_STORE,
    encoder: Encoder = None,
    as_json: AsJson = False,
) -> None:
    """Record many users' histories, encoded by several workers on Ray Data (extra: ray).

    EXPORT is one file in any format that `ingest` reads, where each conversation also names its user
    ({"user_id": "ada", "messages": [...]}), or a folder with a file for each user, called after them.

    The whole export is checked first. If this is interrupted, the same command goes on: what is recorded is known by
    its id and neither encoded nor recorded again.

    Example: persona-align backfill chats.jsonl --workers 4
    """
    if util.find_spec("ray") is None:
        raise MissingExtraError("Backfilling needs Ray.", "Install it with `pip install 'persona-align[ray]'`.")
    with waiting("Checking the export…"):
        sizes = Counter(user for user, _ in _said(export, format, user_field))
    new = 0
    with opened(store, encoder, new=True) as aligner:
        fresh = (said for batch in _in_batches(_said(export, format, user_field)) for said in _unknown(aligner, batch))
        window = list(islice(fresh, _WINDOW))
        if window:
            with _Workers(address, workers, encoder) as pool, progress("Encoding", sizes.total()) as shown:
                while window:
                    for written in pool.write(aligner, window):
                        new += written
                        shown.advance(shown.task_ids[0], written)
                    window = list(islice(fresh, _WINDOW))
    result = {"users": len(sizes), "records": sizes.total(), "new": new}
    if as_json:
        print_json(result)
    else:
        typer.echo(f"{result['users']} users, {result['records']} records, {new} of them new.")


def _said(export: Path, format: str, user_field: str) -> Iterator[Said]:
    """Every record with its user, in the order of the files."""
    from persona_align.formats import open_source

    if export.is_dir():
        for file in sorted(path for path in export.iterdir() if path.is_file() and not path.name.startswith(".")):
            for record in open_source(file, format).records():
                yield file.name.split(".")[0], record
        return
    for user, records in open_source(export, format).by_user(user_field):
        for record in records:
            yield user, record


def _in_batches(said: Iterator[Said]) -> Iterator[list[Said]]:
    while batch := list(islice(said, 4096)):
        yield batch


def _unknown(aligner: "PersonaAligner", batch: list[Said]) -> Iterator[Said]:
    ids: dict[str, list[str]] = {}
    for user, record in batch:
        ids.setdefault(user, []).append(record.id)
    known = {user: aligner.memory.known(user, own) for user, own in ids.items()}
    return (said for said in batch if said[1].id not in known[said[0]])


class _Workers:
    """A Ray that encodes; what it gives back is written by this process, in the order of the files."""

    def __init__(self, address: str, workers: int, encoder: str | None) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when Ray is imported: no telemetry
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        self._address = address
        self._workers = workers
        self._encoder = encoder

    def __enter__(self) -> "_Workers":
        import logging

        import ray

        local: dict[str, Any] = (
            {"num_cpus": self._workers, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
            if self._address == "local"
            else {}
        )
        with waiting("Starting the workers…"):
            ray.init(address=self._address, log_to_driver=False, logging_level=logging.ERROR, **local)
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True  # undated records are in the order in which they arrive
        context.enable_progress_bars = False
        for name in ("ray.data", "ray.data._internal.execution.streaming_executor"):
            logging.getLogger(name).setLevel(logging.ERROR)
        return self

    def __exit__(self, *error: object) -> None:
        import ray

        ray.shutdown()

    def write(self, aligner: "PersonaAligner", window: list[Said]) -> Iterator[int]:
        """Encode and write; gives the number of records after each write."""
        for batch in self._encoded([{"user": user, "record": record.model_dump_json()} for user, record in window]):
            by_user: dict[str, list[Any]] = {}
            for user, entry in zip(batch["user"].tolist(), batch["entry"].tolist(), strict=True):
                by_user.setdefault(user, []).append(_unpacked(entry))
            for user, entries in by_user.items():
                aligner.memory.append(user, entries)
            yield len(batch["user"])

    def _encoded(self, rows: list[dict[str, str]]) -> Iterator[dict[str, Any]]:
        import ray

        encoded = ray.data.from_items(rows).map_batches(
            _Encode,
            fn_constructor_args=(self._encoder,),
            batch_size=_BATCH,
            compute=ray.data.ActorPoolStrategy(size=self._workers),
            num_cpus=1,
        )
        yield from encoded.iter_batches(batch_size=_BATCH * 4, batch_format="numpy")


class _Encode:
    """What a worker does: one encoder pass and the evidence of each record."""

    def __init__(self, encoder: str | None) -> None:
        from persona_align import PersonaAligner

        self._aligner = PersonaAligner.open(encoder=encoder)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        from persona_align.records import parse_record

        records = [parse_record(json.loads(text)) for text in batch["record"].tolist()]
        entries: Iterable[Any] = self._aligner.entries(records)
        return {"user": batch["user"], "entry": [_packed(entry) for entry in entries]}


def _packed(entry: Any) -> bytes:
    return pickle.dumps((entry.record.model_dump_json(), entry.embedding, dict(entry.numbers), entry.version))


def _unpacked(packed: bytes) -> Any:
    """What one of our own workers packed moments ago; nothing that was ever on disk is unpickled."""
    from persona_align.memory import Entry
    from persona_align.records import parse_record

    record, embedding, numbers, version = pickle.loads(packed)
    return Entry(record=parse_record(json.loads(record)), embedding=embedding, numbers=numbers, version=version)
