"""What people ask for, take back, decide, choose and lock.

Belongs here: steps of the doors. Does not belong here: the document (`editing`).
"""

import json

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule

from scene_pipeline.database.promotion import promote_version
from scene_pipeline.database.publishing import Publication, publish
from scene_pipeline.database.versions import list_versions
from scene_pipeline.errors import LedgerError
from scene_pipeline.pipeline.upkeep.resolve import resolve_lost_request
from scene_pipeline_tests.film_walk.editing import Editing
from scene_pipeline_tests.film_walk.film import FAULTS, ORDERS, SCENES, VERDICTS, WISHES
from scene_pipeline_tests.scene_facts import Order, Row, Trouble, Verdict, Wish


class People(Editing):
    """Requests, decisions and choices."""

    @rule(scene_id=st.sampled_from(SCENES), wish=WISHES)
    def ask(self, scene_id: str, wish: Wish) -> None:
        given = {"prompt_suffix": wish.suffix, "candidates": wish.candidates}
        self.stage.sql(
            "INSERT INTO regeneration_requests (project_id, scene_id, overrides)"
            " VALUES (%s, %s, %s::jsonb)",
            self.project_id,
            scene_id,
            json.dumps({name: value for name, value in given.items() if value not in ("", 1)}),
        )
        [row] = self.stage.sql(
            "SELECT max(id) AS id FROM regeneration_requests WHERE project_id = %s"
            " AND scene_id = %s AND batch IS NULL",
            self.project_id,
            scene_id,
        )
        self.model[scene_id].ask(row["id"], wish)
        self.check()

    @rule(scene_id=st.sampled_from(SCENES), wish=WISHES, is_begun=st.booleans())
    def cancel(self, scene_id: str, wish: Wish, *, is_begun: bool) -> None:
        """Another program takes the oldest wish back, before or after a run took it up."""
        self.ask(scene_id, wish)
        if is_begun:
            self.run_short_of_money(Order(), Trouble(), room=0)
        self.stage.sql(
            "UPDATE regeneration_requests SET state = 'failed', finished_at = now() WHERE id ="
            " (SELECT min(id) FROM regeneration_requests WHERE project_id = %s AND scene_id = %s"
            "  AND state IN ('pending', 'claimed'))",
            self.project_id,
            scene_id,
        )
        self.model[scene_id].cancel()
        self.check()

    @rule(
        lost=ORDERS,
        verdict=st.sampled_from(VERDICTS),
        order=ORDERS,
        trouble=st.builds(Trouble, st.sampled_from(FAULTS), st.sampled_from([True, True, False])),
    )
    def decide(self, lost: Order, verdict: Verdict, order: Order, trouble: Trouble) -> None:
        """A person decides about every request in doubt, and a run carries it out."""
        if not self._in_doubt():
            self.run(lost, Trouble("lost_and_history_down"))
        for scene_id, row in self._in_doubt().items():
            self.stage.do(self._resolve(scene_id, verdict))
            self.model[scene_id].resolve(row, verdict)
        self.check()
        self.run(order, trouble)

    def _in_doubt(self) -> dict[str, Row]:
        rows = {scene_id: scene.open_row for scene_id, scene in self.model.items()}
        return {
            scene_id: row
            for scene_id, row in rows.items()
            if row is not None and row.state == "submitting"
        }

    async def _resolve(self, scene_id: str, verdict: Verdict) -> None:
        url = self.stage.services.database_url
        async with self.stage.services.pool.connection() as conn:
            await resolve_lost_request(conn, url, self.key, scene_id, verdict, decided_by="walk")

    @rule(place=st.integers(0, 5), scene_id=st.sampled_from(SCENES), is_published=st.booleans())
    def promote(self, place: int, scene_id: str, *, is_published: bool) -> None:
        """Go back to an old version, or die between the row and the document."""
        scene = self.model[scene_id]
        if not scene.frames or scene.is_locked:
            return
        # no draw may depend on the state, which runs that race or are cut off leave to chance
        version = 1 + place % len(scene.frames)

        async def work() -> None:
            async with self.stage.services.pool.connection() as conn:
                await promote_version(conn, self.project_id, scene_id, version)
                await conn.commit()
                if not is_published:
                    return
                versions = await list_versions(conn, self.project_id, scene_id)
                row = next(row for row in versions if row.version == version)
                item = Publication(
                    row.generation_id, scene_id, row.scene_prompt, row.storage_url, "current"
                )
                await conn.commit()
                await publish(conn, self.project_id, [item])

        if not scene.promote(version):
            with pytest.raises(LedgerError):
                self.stage.do(work())
        else:
            self.stage.do(work())
            row = scene.frames[version - 1]
            if is_published and scene.prompt is not None:
                scene.shown = scene.picture
            if is_published and row.state == "recorded":
                row.state = "published" if scene.prompt is not None else "superseded"
                scene._finish_requests(row, "done")
        self.check()

    @rule(scene_id=st.sampled_from(SCENES), is_locked=st.booleans())
    def lock(self, scene_id: str, *, is_locked: bool) -> None:
        """Say that a frame is never to be replaced, or that it may be."""
        if scene_id not in self.known:
            return
        self.stage.sql(
            "UPDATE scenes SET locked = %s WHERE project_id = %s AND scene_id = %s",
            is_locked,
            self.project_id,
            scene_id,
        )
        self.model[scene_id].is_locked = is_locked
        self.check()
