"""What is known of a person: read it, correct it, add to it, take it along, erase it."""

from datetime import UTC
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request

from persona_align.aligner import PersonaAligner
from persona_align.records import Comparison, Correction
from persona_align_server.keys import Caller, caller
from persona_align_server.schemas import Comparing, Correcting, EvidenceOut, Forgetting, Preferences, ReadingOut, Thumb

__all__ = ["router"]

router = APIRouter(prefix="/users/{user_id}", tags=["people"])
Acting = Annotated[Caller, Depends(caller)]
UserId = Annotated[str, Path(min_length=1, max_length=10_000)]


def _aligner(request: Request) -> PersonaAligner:
    aligner: PersonaAligner = request.app.state.aligner
    return aligner


Known = Annotated[PersonaAligner, Depends(_aligner)]


@router.get("/preferences")
def preferences(user_id: UserId, aligner: Known, acting: Acting) -> Preferences:
    """Everything inferred or set by hand, strongest first."""
    user = acting.acting_for(user_id)
    locked = _locked(aligner, user)
    readings = [
        ReadingOut(
            key=reading.key,
            family=reading.dimension.family,
            pole=reading.pole,
            high=reading.dimension.high,
            low=reading.dimension.low,
            value=reading.value,
            confidence=reading.confidence,
            support=reading.support,
            locked=reading.key in locked,
        )
        for reading in aligner.preferences(user).top(len(aligner.space))
    ]
    return Preferences(user_id=user, floor=aligner.space.floor, readings=readings)


@router.get("/explain/{dimension}")
def explain(user_id: UserId, dimension: str, aligner: Known, acting: Acting) -> list[EvidenceOut]:
    """The records that moved a dimension, the strongest first."""
    user = acting.acting_for(user_id)
    return [
        EvidenceOut(
            record_id=each.record.id,
            kind=each.record.kind,
            texts=list(each.record.texts),
            at=each.record.at,
            weight=each.weight,
        )
        for each in aligner.explain(user, dimension)
    ]


@router.post("/correct")
def correct(user_id: UserId, correcting: Correcting, aligner: Known, acting: Acting) -> Preferences:
    """Set a dimension by hand, or give it back to inference."""
    user = acting.acting_for(user_id)
    if correcting.value is None:
        aligner.release(user, correcting.dimension)
    else:
        aligner.correct(user, correcting.dimension, correcting.value)
    return preferences(user, aligner, acting)


@router.post("/feedback")
def feedback(user_id: UserId, given: Comparing | Thumb, aligner: Known, acting: Acting) -> dict[str, str]:
    """Record which of two replies the person preferred."""
    user = acting.acting_for(user_id)
    if isinstance(given, Comparing):
        comparison = Comparison(prompt=given.prompt, chosen=given.chosen, rejected=given.rejected)
    else:
        better, worse = (given.reply, given.other) if given.up else (given.other, given.reply)
        comparison = Comparison(prompt=given.prompt, chosen=better, rejected=worse)
    (record_id,) = aligner.record(user, comparison)
    return {"record_id": record_id}


@router.get("/export")
def export(user_id: UserId, aligner: Known, acting: Acting) -> dict[str, Any]:
    """Everything held about the person."""
    return aligner.export(acting.acting_for(user_id))


@router.post("/forget")
def forget(user_id: UserId, what: Forgetting, aligner: Known, acting: Acting) -> dict[str, Any]:
    """Erase the person, or some of their records, and say what was erased."""
    before = what.before if what.before is None or what.before.tzinfo else what.before.replace(tzinfo=UTC)
    receipt = aligner.forget(acting.acting_for(user_id), before=before, record_ids=what.record_ids)
    return receipt.to_json()


def _locked(aligner: PersonaAligner, user_id: str) -> set[str]:
    locked: set[str] = set()
    for entry in aligner.memory.history(user_id).entries:
        if isinstance(entry.record, Correction):
            if entry.record.action == "lock":
                locked.add(entry.record.dimension)
            else:
                locked.discard(entry.record.dimension)
    return locked
