"""Seeds that the program chooses: derived, so that whoever plans the same chooses the same."""

from uuid import UUID

from scene_pipeline.scenes.identity.slugs import text_digest


def derive_seed(idempotency_key: str) -> int:
    """Choose the seed of a generation from its idempotency key.

    Two planners that plan the same request choose the same seed, so that a request whose answer
    was lost is recognised in the provider's history.

    Returns:
        0 to 2**31 - 1.
    """
    return int(text_digest(idempotency_key)[:8], 16) & 0x7FFF_FFFF


def fixed_seed(project_id: UUID, scene_id: str) -> int:
    """Choose the seed of the policy "fixed": the same for every version of a scene.

    Returns:
        0 to 2**31 - 1.
    """
    return derive_seed(f"fixed:{project_id}/{scene_id}")


def next_seed(seed: int) -> int:
    """Choose the seed of the policy "increment": the one after it; 0 follows the last."""
    return (seed + 1) & 0x7FFF_FFFF
