"""What becomes of a request whose answer was lost: found, proven absent, waited for, decided.

The provider's history is asked first, and by every run. Absence counts as a proof only after the
history had time to show the request. A history that cannot be read proves nothing: then the row
waits as it is, and only SCENE_PIPELINE_ON_AMBIGUOUS=pay_again or a person permits another submit.

Belongs here: what the looking-up says and what the policy allows. Does not belong here: sending
(`pipeline.making.generate`), the rows (`database.ambiguity`).
"""

import shlex
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from scene_pipeline.database import ambiguity, generations, ledger
from scene_pipeline.database.rows import Generation
from scene_pipeline.errors import AGAIN, AmbiguousSubmitError
from scene_pipeline.pipeline.keeping.provider_request import image_request
from scene_pipeline.pipeline.making.run_context import RunContext, SceneVoice, database_age_seconds
from scene_pipeline.pipeline.orders import SceneRef
from scene_pipeline.pipeline.retrying import backoff_seconds
from scene_pipeline.providers.base import ImageProvider, Submission
from scene_pipeline.settings import Settings

MAX_PAUSE_SECONDS = 15.0
POLICY = "policy"
"""Who decided, in the event of a submit that SCENE_PIPELINE_ON_AMBIGUOUS permitted."""


@dataclass(frozen=True, slots=True)
class Found:
    """The provider has it: nothing more is to be paid."""

    submission: Submission


@dataclass(frozen=True, slots=True)
class NeverSent:
    """The provider never had it; the row is planned again and its reservation given back."""

    generation: Generation


@dataclass(frozen=True, slots=True)
class PayAgain:
    """Still unknown, and one more submit is permitted."""

    generation: Generation


async def look_up(
    context: RunContext, provider: ImageProvider, generation: Generation, voice: SceneVoice
) -> Found | NeverSent | PayAgain:
    """Find out what became of a request whose answer never came.

    The history lists finished requests only. Until SCENE_PIPELINE_AMBIGUOUS_SETTLE_SECONDS have
    passed since it was sent, the request may therefore still run unseen, and its absence proves
    nothing. One run asks again, with growing pauses, for SCENE_PIPELINE_AMBIGUOUS_PATIENCE_SECONDS.

    Raises:
        AmbiguousSubmitError: Still unknown, and nobody permitted another submit; says since when,
            until when, and what a person can do after that.
    """
    services = context.services
    settings = services.settings
    settle_seconds = settings.ambiguous_settle_seconds
    give_up_at = time.monotonic() + settings.ambiguous_patience_seconds
    sent_at = generation.submitting_at or generation.created_at
    asked = 0
    async with services.pool.connection() as conn:
        known_ids = await generations.other_request_ids(conn, generation)
    while True:
        asked += 1
        age_seconds = await database_age_seconds(context, sent_at)
        since = generation.doubtful_since or sent_at
        lost = await services.call(provider.find_lost, image_request(generation), since, known_ids)
        if lost.verdict == "found" and lost.submission is not None:
            return Found(lost.submission)
        if age_seconds >= settle_seconds or time.monotonic() >= give_up_at:
            break
        await voice.progress("waiting", f"looking for a lost request in {provider.name}'s history")
        pause = min(backoff_seconds(asked), MAX_PAUSE_SECONDS)
        await services.sleep(min(pause, max(0.2, settle_seconds - age_seconds)))
    async with services.pool.connection() as conn:
        if lost.verdict == "absent" and age_seconds >= settle_seconds:
            return NeverSent(await ledger.return_unsent(conn, generation))
        # Read again: a person may have decided while the history was asked.
        generation = await generations.get_generation(conn, generation.id)
        if generation.max_submits > generation.submit_count:
            return PayAgain(generation)
        if _policy_permits(settings, generation, age_seconds):
            permitted = await ambiguity.allow_another_submit(conn, generation, decided_by=POLICY)
            return PayAgain(permitted)
    if lost.verdict == "absent":
        raise _not_seen_yet(settings, voice.ref, provider.name, generation)
    raise still_unknown(settings, voice.ref, provider.name, generation, age_seconds)


def _not_seen_yet(
    settings: Settings, ref: SceneRef, provider_name: str, generation: Generation
) -> AmbiguousSubmitError:
    """What a run tells of a lost request that the history does not hold yet."""
    sent_at = generation.submitting_at or generation.created_at
    until = sent_at + timedelta(seconds=settings.ambiguous_settle_seconds)
    return AmbiguousSubmitError(
        f"Whether {provider_name} accepted the request for scene {ref.scene_id}, sent at"
        f" {_moment(sent_at)}, is unknown: it may still be running, and the history lists finished"
        " requests only.",
        next_action=f"Run {AGAIN}: it is taken up as soon as it is found, and sent once more if"
        f" it is still missing at {_moment(until)}. To decide yourself: {resolve_command(ref)}",
    )


def _policy_permits(settings: Settings, generation: Generation, age_seconds: float) -> bool:
    """Once per generation: a second lost answer is a person's to judge."""
    return (
        settings.on_ambiguous == "pay_again"
        and generation.doubtful_submits == 0
        and age_seconds >= settings.ambiguous_wait_minutes * 60
    )


def still_unknown(
    settings: Settings,
    ref: SceneRef,
    provider_name: str,
    generation: Generation,
    age_seconds: float,
) -> AmbiguousSubmitError:
    """What a run tells of a lost request that it could not look up."""
    sent_at = generation.submitting_at or generation.created_at
    until = sent_at + timedelta(minutes=settings.ambiguous_wait_minutes)
    message = (
        f"Whether {provider_name} accepted the request for scene {ref.scene_id}, sent at"
        f" {_moment(sent_at)}, is unknown: its history cannot be read."
    )
    command = resolve_command(ref)
    is_waiting = age_seconds < settings.ambiguous_wait_minutes * 60
    will_pay = settings.on_ambiguous == "pay_again" and generation.doubtful_submits == 0
    if is_waiting and will_pay:
        next_action = (
            f"Run {AGAIN}: the history is asked until {_moment(until)}; after that the request is"
            " sent and paid once more (SCENE_PIPELINE_ON_AMBIGUOUS=pay_again)."
        )
    elif is_waiting:
        next_action = (
            f"Run {AGAIN}: the history is asked until {_moment(until)}; after that a person must"
            f" decide: {command}"
        )
    else:
        next_action = (
            f"A person must decide: see the account's requests at {provider_name}, then {command}"
        )
    return AmbiguousSubmitError(message, next_action=next_action)


def resolve_command(ref: SceneRef) -> str:
    """The command by which a person decides about a scene's lost request."""
    named = shlex.join(["scene-pipeline", "resolve", ref.project_key, ref.scene_id])
    return f"{named} --pay-again | --not-charged | --abandon"


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
