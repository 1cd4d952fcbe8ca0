"""The exception tree of Scene Pipeline, drawn in one place.

    ScenePipelineError                  carries code, message, next_action
    |-- UsageError                      bad input or configuration: nothing was changed
    |   |-- DocumentError               the master JSON cannot be used; has `problems`
    |   |-- NotFoundError               unknown project or scene
    |   |-- ConfigurationError          a setting, a key, a port, a version
    |   `-- DatabaseError               unreachable, too new, not migrated
    `-- SceneError                      one scene failed; the others go on
        |-- ProviderError               the image service refused, failed or fell silent
        |   `-- AmbiguousSubmitError    it may have accepted (and charge) although no answer came
        |-- FetchError                  a given URL could not be fetched, or must not be
        |-- ImageError                  the bytes are not a picture that we accept
        |-- FileRefusedError            a file that the library does not take
        |-- StorageError                the object store refused or failed
        |-- BlockedError                something else must come first; nothing was sent or paid
        |   `-- BudgetError             a cap stands in the way
        `-- LedgerError                 the ledger's lock or row was lost to somebody else

Every error says what happened to what (`message`), under a stable `code`, and what to do next
(`next_action`). `retryable` and `retry_after_seconds` are the decision, made where the facts are
known. As text (`str`), an error is code, message and next action on one line: so Dagster's pages
and logs show one that nobody put into words. Every code stands in docs/errors.md; a test compares.

A next action may name PROJECT and SCENE in its commands: `named` puts the scene's own names there,
where an error is stored or told for a scene.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

AGAIN: Final = "`scene-pipeline run PROJECT --scene SCENE`"
"""The command that takes a scene up where it stopped."""
ANOTHER: Final = "`scene-pipeline run PROJECT --regenerate --scene SCENE`"
"""The command that asks for a new version of a scene, and pays for it."""

# Quotes are read as a shell reads them: within them stands a name, whatever it holds.
_QUOTED = r"'[^']*'|\"[^\"]*\""
_COMMAND = re.compile(rf"`scene-pipeline (?:{_QUOTED}|[^`'\"])*`")
_PLACE = re.compile(rf"{_QUOTED}|(?<=\s)(?:PROJECT|SCENE)(?=[\s`])")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a document, with everything needed to find it."""

    code: str
    """Stable, machine readable: "prompt_missing"."""
    path: str
    """JSON path of the value, "$.scenes.scene_1.scene_frame_prompt"; "$" for the whole document."""
    message: str
    """One sentence."""
    scene_id: str | None = None
    """The scene that is set aside because of it; None when the document as a whole is refused."""


class ScenePipelineError(Exception):
    """Base of every error that this package raises on purpose.

    Args:
        message: What happened to what, in one sentence.
        code: Stable code; the class's own when left out.
        next_action: What the reader can do about it, in one sentence.
    """

    code: ClassVar[str] = "error"
    default_next_action: ClassVar[str] = "Run `scene-pipeline doctor`."

    def __init__(
        self, message: str, *, code: str | None = None, next_action: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.error_code = code or self.code
        self.next_action = next_action or self.default_next_action

    def __str__(self) -> str:
        """The whole error on one line."""
        return f"[{self.error_code}] {self.message} {self.next_action}"


def named(next_action: str, project_key: str, scene_id: str) -> str:
    """Put a scene's names into the commands of a next action, in place of PROJECT and SCENE.

    Args:
        next_action: Of an error that befell the scene.
        project_key: The scene's project.
        scene_id: The scene.
    """
    names = {"PROJECT": quoted(project_key), "SCENE": quoted(scene_id)}
    return _COMMAND.sub(
        lambda command: _PLACE.sub(lambda place: names.get(place[0], place[0]), command[0]),
        next_action,
    )


def quoted(name: str) -> str:
    """A name as a command of a next action holds it: one word for a shell, and no place.

    Args:
        name: A project's key or a scene's id: any text, "SCENE" too.
    """
    return f"'{name}'" if name in ("PROJECT", "SCENE") else shlex.quote(name)


class UsageError(ScenePipelineError):
    """Bad input or configuration; nothing was changed. Exit code 2."""

    code = "bad_input"
    default_next_action = "Correct it and try again; `scene-pipeline --help` shows every command."


class DocumentError(UsageError):
    """The master JSON cannot be used at all."""

    code = "document_invalid"
    default_next_action = "Correct the document and import it again."

    def __init__(
        self,
        message: str,
        *,
        problems: Sequence[Problem] = (),
        code: str | None = None,
        next_action: str | None = None,
    ) -> None:
        super().__init__(message, code=code, next_action=next_action)
        self.problems = tuple(problems)


class NotFoundError(UsageError):
    """A project, scene or version that does not exist was named."""

    code = "not_found"
    default_next_action = "Run `scene-pipeline status` to see what there is."


class ConfigurationError(UsageError):
    """A setting is missing, malformed or contradicts another."""

    code = "configuration"
    default_next_action = "Correct the setting, then see with `scene-pipeline doctor` that it fits."


class DatabaseError(UsageError):
    """The database cannot be reached or is not one this version can work with."""

    code = "database_unavailable"
    default_next_action = "Run `scene-pipeline doctor` to see what the database says."


class SceneError(ScenePipelineError):
    """One scene failed; every other scene goes on.

    Args:
        message: What happened to what, in one sentence.
        code: Stable code; the class's own when left out.
        next_action: What the reader can do about it.
        retryable: Whether the same step may succeed when simply done again.
        retry_after_seconds: How long the other side asked us to wait.
    """

    code = "scene_failed"
    default_next_action = f"Take the scene up where it stopped with {AGAIN}."
    default_retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        next_action: str | None = None,
        retryable: bool | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message, code=code, next_action=next_action)
        self.retryable = self.default_retryable if retryable is None else retryable
        self.retry_after_seconds = retry_after_seconds


ChargeVerdict = Literal["charged", "not_charged", "unknown"]
"""What an error proves about the money: only "not_charged" gives the reservation back."""

FlaggedInput = Literal["prompt", "reference", "output"]
"""What a content check objected to: the words, a picture that was sent along, or what was made."""


class ProviderError(SceneError):
    """The image service refused, failed or answered nonsense.

    `charge` says what is proven about the money. `stops_the_line` is true where every other scene
    of the run would meet the same refusal (an exhausted balance, a revoked key). `flagged_input`
    says what a content check objected to, where it named it.
    """

    code = "provider_failed"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        next_action: str | None = None,
        retryable: bool | None = None,
        retry_after_seconds: float | None = None,
        charge: ChargeVerdict = "unknown",
        stops_the_line: bool = False,
        flagged_input: FlaggedInput | None = None,
    ) -> None:
        super().__init__(
            message,
            code=code,
            next_action=next_action,
            retryable=retryable,
            retry_after_seconds=retry_after_seconds,
        )
        self.charge: ChargeVerdict = charge
        self.stops_the_line = stops_the_line
        self.flagged_input: FlaggedInput | None = flagged_input


class AmbiguousSubmitError(ProviderError):
    """The request may have been accepted although no answer came: never repeated blindly."""

    code = "submit_ambiguous"
    default_next_action = (
        "Wait: the provider's history is asked for the lost request before anything is paid again."
    )


class FetchError(SceneError):
    """A URL could not be fetched, or must not be."""

    code = "fetch_failed"
    default_next_action = "See that the address answers, then try again."


class ImageError(SceneError):
    """The bytes are not a picture that we accept."""

    code = "image_invalid"
    default_next_action = (
        "Give another file: a whole PNG, JPEG or WebP still. In place of a generated one, ask for"
        f" another with {ANOTHER}."
    )


class FileRefusedError(SceneError):
    """A file that the library does not take, recognised by what is in it."""

    code = "file_not_allowed"
    default_next_action = (
        "Give a whole file of an accepted kind: pictures (PNG, JPEG, WebP, GIF), video (MP4, WebM, "
        "MOV, AVI, MKV), audio (MP3, WAV, OGG, AAC), documents (PDF, DOC, DOCX)."
    )


class StorageError(SceneError):
    """The object store refused or failed."""

    code = "storage_failed"
    default_next_action = "Run `scene-pipeline doctor` to see what the object store refuses."


class BlockedError(SceneError):
    """Something else must come first: nothing was sent or paid, and the scene waits as it is."""

    code = "blocked"
    default_next_action = "See what it waits for with `scene-pipeline plan PROJECT`."


class BudgetError(BlockedError):
    """A cap stands in the way of this payment."""

    code = "budget_exhausted"
    default_next_action = (
        "Raise the cap (`--max-cost`, SCENE_PIPELINE_PROJECT_CAP_USD, SCENE_PIPELINE_DAY_CAP_USD)."
    )


class LedgerError(SceneError):
    """Somebody else holds or moved the generation; re-read before doing anything."""

    code = "ledger_moved"
    default_next_action = f"Nothing is lost; see where it stands now with {AGAIN}."
