"""Runs of a film, and what may befall them.

Belongs here: steps that run the stream. Does not belong here: what happens between runs
(`editing`, `people`).
"""

import asyncio
from dataclasses import replace
from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import rule

from scene_pipeline.errors import SceneError
from scene_pipeline.pipeline.failpoints import FAILPOINTS, arm
from scene_pipeline.pipeline.upkeep.collect import collect
from scene_pipeline_tests.film_walk.film import (
    ORDERS,
    SCENES,
    SUFFIX,
    TROUBLES,
    Film,
    Paths,
    stops_of,
)
from scene_pipeline_tests.scene_facts import Order, Trouble
from scene_pipeline_tests.stage import looks_of


class Running(Film):
    """Runs and collection."""

    @rule(order=ORDERS, trouble=TROUBLES)
    def run(self, order: Order, trouble: Trouble) -> None:
        """A run that goes to its end, whatever the provider does meanwhile."""
        self._begin(trouble)
        statuses = self.stage.do(self._stream(order))
        expected = {
            scene_id: list(stops_of(self.model[scene_id], order, trouble))[-1][0]
            for scene_id in self.ordered()
        }
        assert statuses == expected
        self.check()

    @rule(order=ORDERS, trouble=TROUBLES, room=st.integers(0, 2))
    def run_short_of_money(self, order: Order, trouble: Trouble, room: int) -> None:
        """The project's cap has room for so many pictures; it is lifted again after the run."""
        self._begin(trouble)
        rows = [scene.open_row for scene in self.model.values()]
        # Money that is kept for a request that turns out to be unsent pays for another one.
        is_kept = any(row is not None and row.state in ("submitting", "submitted") for row in rows)
        refused = (0,) if room == 0 and not is_kept else (None, 0, 1, 2, 3)
        paths: Paths = {scene: [] for scene in self.ordered()}
        for refused_at in refused:
            tried = self._paths(order, replace(trouble, refused_at=refused_at))
            for scene_id, path in tried.items():
                paths[scene_id].append(path[-1])
        self.stage.set_cap(self.project_id, room)
        statuses = self.stage.do(self._stream(order))
        self.stage.lift_cap(self.project_id)
        for scene_id, path in paths.items():
            paths[scene_id] = [end for end in path if end[0] == statuses[scene_id]]
        self._adopt(paths)
        self.check()

    @rule()
    def run_plainly(self) -> None:
        self.run(Order(), Trouble())

    @rule(order=ORDERS, place=st.sampled_from(FAILPOINTS))
    def fail_at(self, order: Order, place: str) -> None:
        """Every scene that gets to this place breaks there."""
        self._begin(Trouble())
        paths = self._paths(order, Trouble())
        arm(f"{place}:raise")
        statuses: dict[str, str] = {}
        try:
            statuses = self.stage.do(self._stream(order))
        except SceneError as error:
            if error.error_code != "failpoint":
                raise
        finally:
            arm(None)
        for scene_id, path in paths.items():
            stop, scene = next((step for step in path if step[0] == place), path[-1])
            self.model[scene_id] = scene
            if statuses:
                assert statuses[scene_id] == ("failed" if stop == place else stop)
        self.check()

    @rule(order=ORDERS, trouble=TROUBLES, events=st.integers(0, 12))
    def cut_off(self, order: Order, trouble: Trouble, events: int) -> None:
        """The run is abandoned at a random moment."""
        self._begin(trouble)
        paths = self._paths(order, trouble)
        self.stage.do(self._stream(order, events))
        self.stage.let_threads_finish()
        self._adopt(paths)
        self.check()

    @rule(order=ORDERS, is_during_a_run=st.booleans())
    def collect(self, order: Order, *, is_during_a_run: bool) -> None:
        """Garbage goes at once, without a period of grace; nothing else does, raced or not."""
        self._begin(Trouble())

        async def work() -> None:
            collecting = collect(
                self.stage.services, apply=True, delete_unknown=True, grace=timedelta(0)
            )
            if is_during_a_run:
                await asyncio.gather(self._stream(order), collecting)
            else:
                await collecting

        paths = self._paths(order, Trouble()) if is_during_a_run else {}
        self.stage.do(work())
        digests, deleted = self.library.digests, self.library.deleted
        kept = {digest for asset_id, digest in digests.items() if asset_id not in deleted}
        self.library.collected |= self.brought - kept
        self._adopt(paths)
        for row in self.stage.sql(
            "SELECT storage_path FROM scene_images WHERE project_id = %s", self.project_id
        ):
            assert self.stage.services.store.head(row["storage_path"]) is not None, "I5"
        self.check()

    @rule()
    def race(self) -> None:
        """Two runs at once are as good as one, or as one after the other."""
        self._begin(Trouble())

        async def both() -> None:
            await asyncio.gather(self._stream(Order()), self._stream(Order()))

        self.stage.do(both())
        self.adopt_two_runs()
        self.check()

    def adopt_two_runs(self) -> None:
        """Take each scene for what one run leaves or, where it is not that, one run after it."""
        looks = looks_of(self.stage, self.project_id, SCENES, SUFFIX)
        ordered = self.ordered()
        for scene_id in ordered:
            self._run_in_model(scene_id)
        self._look_around()  # what was made for one may be another's for nothing by now
        for scene_id in ordered:
            if self.model[scene_id].look() != looks[scene_id]:
                self._run_in_model(scene_id)

    def _run_in_model(self, scene_id: str) -> None:
        *_, (_, self.model[scene_id]) = stops_of(self.model[scene_id], Order(), Trouble())
