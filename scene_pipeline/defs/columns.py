"""The columns of what the assets stand for, in words: the catalogue shows them beside each asset.

Belongs here: names, types and meanings, for people. Does not belong here: the tables themselves
(`database.migrations`, `scenes.table`); tests hold the names and types against them.
"""

from typing import Final

Column = tuple[str, str, str]
"""Name, type and meaning."""
MAX_ACTION_CHARACTERS: Final = 1200
"""Of the next action in a cell: a command without its end is none, so it has more room than words
have."""

SCENE_PROMPT_COLUMNS: Final[tuple[Column, ...]] = (
    ("scene_id", "string", "Id of the scene in the master JSON."),
    ("position", "int64", "Place of the scene in the film, from 0."),
    ("prompt", "string", "The document's own words: scene_frame_prompt."),
    ("prompt_characters", "int64", "Length of the prompt in characters."),
    ("characters", "string", "Names of the characters whose descriptions are added."),
    ("expanded_prompt", "string", "What is sent: the prompt with the project's style around it."),
    ("expanded_characters", "int64", "Length of what is sent in characters."),
    ("expansion_version", "int64", "Version of the rules that expand a prompt."),
    ("size", "string", "Width and height asked for, in pixels: 1024x576."),
    ("provider", "string", "Image service that would be asked."),
    ("model", "string", "Model of that service, as the service names it."),
    ("content_hash", "string", "Differs when the picture's content would; decides what is stale."),
)
"""The prompts table, in its order."""

GENERATED_FRAME_COLUMNS: Final[tuple[Column, ...]] = (
    ("id", "uuid", "The generation: one thing worth paying for."),
    ("project_id", "uuid", "Project that it is for."),
    ("scene_id", "text", "Scene that it is for."),
    ("run_id", "text", "Dagster run that planned it."),
    ("token", "text", "What it answers: a request, a backfill, a run; empty for a first frame."),
    ("provider", "text", "Image service that is asked."),
    ("endpoint", "text", "Model of that service."),
    ("prompt", "text", "What was sent."),
    ("seed", "bigint", "Chosen and kept before the request is sent."),
    ("width", "integer", "Width asked for, in pixels."),
    ("height", "integer", "Height asked for, in pixels."),
    ("state", "text", "How far it is: planned, submitting, submitted, completed, stored, ..."),
    ("submit_count", "integer", "How often it was sent; once, unless nothing was charged."),
    ("request_id", "text", "The provider's id, by which it is resumed after a crash."),
    ("estimated_micros", "bigint", "Price reserved before sending, in millionths of a US dollar."),
    ("cost_micros", "bigint", "Price paid, in millionths of a US dollar."),
    ("cost_kind", "text", "Where the price is from: estimated, metered or free."),
    ("error_code", "text", "Why it failed; the code of docs/errors.md."),
    ("error_message", "text", "The same in one sentence."),
    ("error_next_action", "text", "What to do about it."),
    ("created_at", "timestamp with time zone", "When it was planned."),
    ("submitting_at", "timestamp with time zone", "When it was about to be sent."),
    ("submitted_at", "timestamp with time zone", "When the provider had taken it."),
    ("completed_at", "timestamp with time zone", "When the provider had answered."),
    ("stored_at", "timestamp with time zone", "When the picture was in our storage."),
    ("recorded_at", "timestamp with time zone", "When it had become a version."),
    ("finished_at", "timestamp with time zone", "When nothing was left to be done for it."),
)
"""Columns of `generations` that people ask for."""

SCENE_IMAGE_COLUMNS: Final[tuple[Column, ...]] = (
    ("project_id", "uuid", "Project of the scene."),
    ("scene_id", "text", "Scene that the frame is of."),
    ("version", "integer", "Counts up from 1 for each scene; never used twice."),
    ("is_current", "boolean", "Whether it is the scene's frame; at most one version is."),
    ("storage_url", "text", "Permanent address; the provider's while it is external."),
    ("storage_path", "text", "Key of the object in our storage."),
    ("storage_status", "text", "stored, external (not ours yet) or removed (by retention)."),
    ("file_size", "bigint", "Size of the file in bytes."),
    ("content_type", "text", "image/png, image/jpeg or image/webp."),
    ("width", "integer", "Width of the picture in pixels."),
    ("height", "integer", "Height of the picture in pixels."),
    ("sha256", "text", "Digest of the stored bytes."),
    ("generated_at", "timestamp with time zone", "When the provider had made it."),
    ("provider", "text", "Image service that made it."),
    ("generation_prompt", "text", "The document's words that it was made from."),
    ("generation_id", "uuid", "Generation that paid for it."),
    ("image_index", "integer", "Which of the candidates asked for at once, from 0."),
    ("rejection", "text", "Why it never becomes the frame by itself; usually empty."),
)
"""Columns of `scene_images` that people ask for."""

SCENE_START_FRAME_COLUMNS: Final[tuple[Column, ...]] = (
    ("project_id", "uuid", "Project whose master JSON is written."),
    ("scene_id", "text", "Scene in that document."),
    ("storage_url", "text", "What the document carries as scene_start_frame."),
    ("generated_at", "timestamp with time zone", "When the provider had made the frame."),
    ("version", "integer", "Version that is the scene's frame now."),
    ("storage_status", "text", "stored, or external as long as the picture is not ours."),
)
"""The view `current_scene_images`: what the document says, or is about to."""

USER_ASSET_COLUMNS: Final[tuple[Column, ...]] = (
    ("asset_id", "text", "Stable and opaque; prompts and documents name it as asset:ID."),
    ("user_id", "text", "Whose it is, where that is known."),
    ("client_id", "text", "Client that it belongs to."),
    ("campaign_id", "text", "Campaign that it belongs to."),
    ("project_id", "uuid", "Project that it belongs to; empty for all of them."),
    ("name", "text", "Name for people."),
    ("kind", "text", "image, video, audio, document, element_image, scene_video, final_render."),
    ("tags", "ARRAY", "Words to find it by."),
    ("url", "text", "Permanent address."),
    ("storage_key", "text", "Key of the object in our storage."),
    ("mime_type", "text", "Media type, recognised by content."),
    ("width", "integer", "Width in pixels, of pictures."),
    ("height", "integer", "Height in pixels, of pictures."),
    ("size_bytes", "bigint", "Size of the file in bytes."),
    ("sha256", "text", "Digest of the bytes."),
    ("is_animated", "boolean", "Whether it moves; such a picture is never a frame or reference."),
    ("content_version", "integer", "How often its bytes were replaced, from 1."),
    ("source", "text", "How it came: file, url or upload."),
    ("source_url", "text", "Address that it was imported from."),
    ("created_at", "timestamp with time zone", "When it was added."),
    ("deleted_at", "timestamp with time zone", "When it was given up; empty while it is shown."),
)
"""Columns of `user_assets` that people ask for."""
