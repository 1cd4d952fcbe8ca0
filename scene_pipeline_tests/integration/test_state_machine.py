"""A random walk through everything that can happen to a film, against a model in plain Python.

Real PostgreSQL, the real stream, real downloads and decoding; money and time are scripted. After
every step the database, the meter and the document must look as `scene_model` says.
"""

import asyncio
import base64
import copy
import hashlib
import json
import secrets
import uuid
from collections.abc import Iterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from scene_pipeline.database.promotion import promote_version
from scene_pipeline.database.publishing import Publication, publish
from scene_pipeline.database.versions import list_versions
from scene_pipeline.errors import LedgerError, SceneError
from scene_pipeline.pipeline.failpoints import FAILPOINTS, arm
from scene_pipeline.pipeline.library.adding import AssetDetails, add_file
from scene_pipeline.pipeline.library.removing import remove_asset
from scene_pipeline.pipeline.making.stream import stream_frames
from scene_pipeline.pipeline.orders import FrameOrder, SceneOutcome, SceneRef
from scene_pipeline.pipeline.projects.importing import import_document
from scene_pipeline.pipeline.upkeep.collect import collect
from scene_pipeline.scenes.requests import RequestOverrides
from scene_pipeline_tests.films import film
from scene_pipeline_tests.scene_model import Library, Order, SceneModel
from scene_pipeline_tests.stage import Stage, assert_invariants, looks_of, open_stage
from scene_pipeline_tests.standins.pictures import scene_file
from scene_pipeline_tests.standins.scripted_provider import Fault

SCENES = ("scene_1", "scene_2", "scene_3")
PROMPTS = ("A lighthouse at dawn", "A storm at sea", "A calm harbour")
SUFFIX = "seen at night"
FAULTS: tuple[Fault, ...] = Fault.__args__  # type: ignore[attr-defined]  # of a Literal

ORDERS = st.one_of(
    st.builds(Order, refresh_stale=st.booleans()),
    st.builds(Order, regenerate=st.just(True), token=st.sampled_from(["backfill-1", "backfill-2"])),
    st.just(Order(regenerate=True, token="backfill-3", suffix=SUFFIX)),
)


def own_words(prompts: dict[str, str]) -> dict[str, str]:
    """Words that no two scenes share: the model looks at scenes one by one, and a scene that left
    would give its picture to another one with the same words.
    """
    return {scene_id: f"{prompt}, for {scene_id}" for scene_id, prompt in prompts.items()}


class FilmWalk(RuleBasedStateMachine):
    """What may happen to a film, in any order."""

    stage: ClassVar[Stage]
    is_sound = False
    """Whether the last step ended as it should."""

    @initialize()
    def bring(self) -> None:
        self.key = f"film-{uuid.uuid4().hex[:12]}"
        self.library = Library()
        self.model = {scene_id: SceneModel(None, self.library) for scene_id in SCENES}
        seed = secrets.randbits(30)  # pictures that no other walk has in the same store
        self.pictures = [scene_file("PNG", seed=seed + number) for number in range(3)]
        self.brought: set[str] = set()
        self.hero: str | None = None
        self.known: set[str] = set()
        self._import(own_words({SCENES[0]: PROMPTS[0], SCENES[1]: PROMPTS[1]}))
        [row] = self.stage.sql("SELECT id FROM projects WHERE key = %s", self.key)
        self.project_id: uuid.UUID = row["id"]
        self._add(0)
        self.check()

    # ---- editors

    @rule(scene_id=st.sampled_from(SCENES), prompt=st.sampled_from(PROMPTS))
    def write(self, scene_id: str, prompt: str) -> None:
        """Edit a scene's prompt, or take it back; a scene that is gone comes back without frame."""
        scene = self.model[scene_id]
        [prompt] = own_words({scene_id: prompt}).values()
        if scene.prompt is None:
            entry = json.dumps({"scene_frame_prompt": prompt, "duration": 4})
            self._edit("jsonb_set(master_json, %s, %s::jsonb)", ["scenes", scene_id], entry)
            self._name(scene, None)
        else:
            path = ["scenes", scene_id, "scene_frame_prompt"]
            self._edit("jsonb_set(master_json, %s, %s::jsonb)", path, json.dumps(prompt))
        scene.prompt = prompt
        self.check()

    @rule(scene_id=st.sampled_from(SCENES[1:]))
    def delete(self, scene_id: str) -> None:
        self._edit("master_json #- %s", ["scenes", scene_id])
        self.model[scene_id].prompt = None
        self.model[scene_id].shown = None
        self._name(self.model[scene_id], None)
        self.check()

    @rule(scene_id=st.sampled_from(SCENES))
    def clear(self, scene_id: str) -> None:
        """Another program removes the frame's URL."""
        self._edit("master_json #- %s", ["scenes", scene_id, "scene_start_frame"])
        self.model[scene_id].shown = None
        self.check()

    def _edit(self, change: str, *values: Any) -> None:
        statement = f"UPDATE projects SET master_json = {change} WHERE key = %s"  # noqa: S608  # ours
        self.stage.sql(statement, *values, self.key)

    @rule(prompts=st.fixed_dictionaries(
        {SCENES[0]: st.sampled_from(PROMPTS)},
        optional={scene_id: st.sampled_from(PROMPTS) for scene_id in SCENES[1:]},
    ))  # fmt: skip
    def bring_again(self, prompts: dict[str, str]) -> None:
        self._import(own_words(prompts))
        self.check()

    def _import(self, prompts: dict[str, str]) -> None:
        async def work() -> None:
            async with self.stage.services.pool.connection() as conn:
                await import_document(
                    conn,
                    self.stage.services.settings,
                    film(prompts, key=self.key),
                    file_name="film.json",
                    origin="film.json",
                    project_key=None,
                    force=True,
                )

        self.stage.do(work())
        for scene_id, scene in self.model.items():
            scene.prompt = prompts.get(scene_id)
            self._name(scene, None)
            has_frame = scene.prompt is not None and scene.current is not None
            scene.shown = scene.current.version if has_frame and scene.current else None

    # ---- pictures to go by

    @rule(scene_id=st.sampled_from(SCENES), is_named=st.booleans())
    def name(self, scene_id: str, *, is_named: bool) -> None:
        """Name the newest picture in a scene, deleted or not, or name none."""
        scene = self.model[scene_id]
        if scene.prompt is None:
            return
        path = ["scenes", scene_id, "references"]
        if is_named:
            named = json.dumps([f"asset:{self.hero}"])
            self._edit("jsonb_set(master_json, %s, %s::jsonb)", path, named)
        else:
            self._edit("master_json #- %s", path)
        self._name(scene, self.hero if is_named else None)
        self.check()

    @rule(place=st.integers(0, 2))
    def give_other_bytes(self, place: int) -> None:
        """Replace the picture; where it was deleted, another one is added."""
        self._add(place)
        self.check()

    @rule()
    def remove(self) -> None:
        """Delete the picture, whoever needs it."""
        if self.hero is None or self.hero in self.library.deleted:
            return
        hero = self.hero

        async def work() -> None:
            async with self.stage.services.pool.connection() as conn:
                await remove_asset(conn, hero, force=True)

        self.stage.do(work())
        self.library.deleted.add(hero)
        self.check()

    @rule(order=ORDERS, fault=st.sampled_from(FAULTS), place=st.integers(0, 2))
    def give_other_bytes_during_a_run(self, order: Order, fault: Fault, place: int) -> None:
        """Each scene ends as if they had come at some moment of its own way."""
        hero = self.hero
        if hero is None or hero in self.library.deleted:
            return
        self._begin(fault)
        before = self.library.digests[hero]
        lengths = {scene_id: len(path) for scene_id, path in self._paths(order, fault).items()}

        async def work() -> None:
            await asyncio.gather(self._stream(order), self._bring_picture(place))

        self.stage.do(work())
        after = self.library.digests[hero]

        def stops(scene_id: str, moment: int) -> Iterator[tuple[str, SceneModel]]:
            scene = copy.deepcopy(self.model[scene_id])
            for number, stop in enumerate(_stops(scene, order, fault)):
                yield stop
                self.library.digests[hero] = before if number < moment else after

        paths: dict[str, list[tuple[str, SceneModel]]] = {}
        for scene_id, length in lengths.items():
            paths[scene_id] = []
            for moment in range(length):
                self.library.digests[hero] = before if moment else after
                *_, last = stops(scene_id, moment)
                paths[scene_id].append(last)
        self.library.digests[hero] = after
        self._adopt(paths)
        self.check()

    def _add(self, place: int) -> None:
        self.stage.do(self._bring_picture(place))

    async def _bring_picture(self, place: int) -> None:
        services, data = self.stage.services, self.pictures[place]
        path = services.settings.home_directory / f"{self.key}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        details = AssetDetails("image", "hero.png", "file", project_id=self.project_id)
        replaced = None if self.hero in self.library.deleted else self.hero
        now = datetime.now(UTC)
        added = await add_file(services, path, details, asked_at=now, replace=replaced)
        self.hero = added.asset_id
        self.library.digests[self.hero] = added.sha256
        self.library.collected.discard(added.sha256)
        self.brought.add(added.sha256)

    def _name(self, scene: SceneModel, asset_id: str | None) -> None:
        scene.asset = asset_id
        self.library.named = {one.asset for one in self.model.values() if one.asset is not None}

    # ---- people

    @rule(scene_id=st.sampled_from(SCENES), suffix=st.sampled_from(["", SUFFIX]))
    def ask(self, scene_id: str, suffix: str) -> None:
        self.stage.sql(
            "INSERT INTO regeneration_requests (project_id, scene_id, overrides)"
            " VALUES (%s, %s, %s::jsonb)",
            self.project_id,
            scene_id,
            json.dumps({"prompt_suffix": suffix} if suffix else {}),
        )
        [row] = self.stage.sql(
            "SELECT max(id) AS id FROM regeneration_requests WHERE project_id = %s"
            " AND scene_id = %s AND batch IS NULL",
            self.project_id,
            scene_id,
        )
        self.model[scene_id].ask(row["id"], suffix)
        self.check()

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
                scene.shown = version
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

    # ---- runs

    def _begin(self, fault: Fault) -> None:
        self.is_sound = False
        self.stage.provider.set_fault(fault)

    def living(self) -> list[str]:
        return [scene_id for scene_id, scene in self.model.items() if scene.prompt is not None]

    def ordered(self) -> list[str]:
        """What a run is about: the document's scenes, and those that it had once."""
        return [scene_id for scene_id in SCENES if scene_id in self.known.union(self.living())]

    @rule(order=ORDERS, fault=st.sampled_from(FAULTS))
    def run(self, order: Order, fault: Fault) -> None:
        """A run that goes to its end, whatever the provider does meanwhile."""
        self._begin(fault)
        statuses = self.stage.do(self._stream(order))
        expected = {
            scene_id: list(_stops(self.model[scene_id], order, fault))[-1][0]
            for scene_id in self.ordered()
        }
        assert statuses == expected
        self.check()

    @rule()
    def run_plainly(self) -> None:
        self.run(Order(), "none")

    @rule(order=ORDERS, place=st.sampled_from(FAILPOINTS))
    def fail_at(self, order: Order, place: str) -> None:
        """Every scene that gets to this place breaks there."""
        self._begin("none")
        paths = self._paths(order, "none")
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

    @rule(order=ORDERS, fault=st.sampled_from(FAULTS), events=st.integers(0, 12))
    def cut_off(self, order: Order, fault: Fault, events: int) -> None:
        """The run is abandoned at a random moment."""
        self._begin(fault)
        paths = self._paths(order, fault)
        self.stage.do(self._stream(order, events))
        self.stage.let_threads_finish()
        self._adopt(paths)
        self.check()

    @rule(order=ORDERS, is_during_a_run=st.booleans())
    def collect(self, order: Order, *, is_during_a_run: bool) -> None:
        """Garbage goes at once, without a period of grace; nothing else does, raced or not."""
        self._begin("none")

        async def work() -> None:
            collecting = collect(
                self.stage.services, apply=True, delete_unknown=True, grace=timedelta(0)
            )
            if is_during_a_run:
                await asyncio.gather(self._stream(order), collecting)
            else:
                await collecting

        paths = self._paths(order, "none") if is_during_a_run else {}
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

    def _adopt(self, paths: dict[str, list[tuple[str, SceneModel]]]) -> None:
        """Find the stop at which a run that was disturbed has left each scene."""
        looks = looks_of(self.stage, self.project_id, SCENES, SUFFIX)
        for scene_id, path in paths.items():
            fitting = [scene for _, scene in path if scene.look() == looks[scene_id]]
            if not fitting:
                stops = "\n".join(f"  {stop}: {scene.look()}" for stop, scene in path)
                pytest.fail(f"{scene_id} is {looks[scene_id]}, which is none of:\n{stops}")
            self.model[scene_id] = fitting[-1]

    @rule()
    def race(self) -> None:
        """Two runs at once are as good as one, or as one after the other."""
        self._begin("none")
        paths = self._paths(Order(), "none")

        async def both() -> None:
            await asyncio.gather(self._stream(Order()), self._stream(Order()))

        self.stage.do(both())
        looks = looks_of(self.stage, self.project_id, SCENES, SUFFIX)
        for scene_id, path in paths.items():
            once = path[-1][1]
            self.model[scene_id] = once
            if once.look() != looks[scene_id]:
                self.model[scene_id] = list(_stops(copy.deepcopy(once), Order(), "none"))[-1][1]
        self.check()

    def _paths(self, order: Order, fault: Fault) -> dict[str, list[tuple[str, SceneModel]]]:
        return {
            scene_id: list(_stops(copy.deepcopy(self.model[scene_id]), order, fault))
            for scene_id in self.ordered()
        }

    async def _stream(self, order: Order, events: int | None = None) -> dict[str, str]:
        """Run the stream, to its end or for so many events; returns what became of the scenes."""
        frame_order = FrameOrder(
            scenes=tuple(SceneRef(self.key, scene_id) for scene_id in self.ordered()),
            mode="regenerate" if order.regenerate else "ensure",
            token=order.token,
            run_id=str(uuid.uuid4()),
            refresh_stale=order.refresh_stale,
            overrides=RequestOverrides(prompt_suffix=order.suffix or None),
        )
        statuses: dict[str, str] = {}
        async with aclosing(stream_frames(frame_order, self.stage.services)) as stream:
            async for event in stream:
                if events is not None and (events := events - 1) < 0:
                    break
                if isinstance(event, SceneOutcome):
                    statuses[event.scene.scene_id] = event.status
        return statuses

    # ---- what must hold

    def check(self) -> None:
        self.is_sound = False
        looks = looks_of(self.stage, self.project_id, SCENES, SUFFIX)
        for scene_id, scene in self.model.items():
            assert looks[scene_id] == scene.look(), scene_id
        assert_invariants(self.stage, self.project_id)
        self.check_what_was_sent()
        rows = self.stage.sql("SELECT scene_id FROM scenes WHERE project_id = %s", self.project_id)
        self.known = {row["scene_id"] for row in rows}
        self.is_sound = True

    def check_what_was_sent(self) -> None:
        """Every request that was accepted had the pictures that its row says, and no others."""
        sent = {one.generation_id: one for one in self.stage.provider.accepted.values()}
        for row in self.stage.sql(
            "SELECT id, content FROM generations WHERE project_id = %s AND submit_count > 0",
            self.project_id,
        ):
            request = sent.get(str(row["id"]))
            if request is not None:
                digests = list((row["content"].get("reference_digests") or {}).values())
                assert [picture.sha256 for picture in request.references] == digests
                for picture in request.references:
                    data = base64.b64decode(picture.url.partition(",")[2])
                    assert hashlib.sha256(data).hexdigest() == picture.sha256

    def teardown(self) -> None:
        """At the end of the walk two plain runs finish what is open.

        The first one may find out that a lost request was never sent, for words that are gone.
        """
        if not self.is_sound:
            return
        for scene_id, scene in self.model.items():
            if scene.asset in self.library.deleted:  # it waits for a person, as it should
                self.name(scene_id, is_named=False)
        self.run(Order(), "none")
        self.run(Order(), "none")
        unfinished = self.stage.sql(
            "SELECT scene_id, state FROM generations WHERE project_id = %s AND scene_id = ANY(%s)"
            " AND state NOT IN ('published', 'superseded', 'failed', 'abandoned')",
            self.project_id,
            self.living(),
        )
        assert unfinished == [], "I6: neither finished nor due"


def _stops(scene: SceneModel, order: Order, fault: Fault) -> Iterator[tuple[str, SceneModel]]:
    """The stops of a run of this very scene, each with a copy; the last is named by its status."""
    walk = scene.run(order, fault)
    while True:
        try:
            stop = next(walk)
        except StopIteration as end:
            yield end.value, scene
            return
        yield stop, copy.deepcopy(scene)


def walk(stage: Stage, **options: Any) -> None:
    """Walk as often and as far as the options say; a failure prints its seed and its steps."""
    machine = type("FilmWalk", (FilmWalk,), {"stage": stage})
    seed = secrets.randbits(64)
    print(f"\nseed {seed}: repeat with @hypothesis.seed({seed})")  # noqa: T201  # pytest shows it
    hypothesis.stateful.run_state_machine_as_test(
        hypothesis.seed(seed)(machine),
        settings=hypothesis.settings(
            deadline=None,
            print_blob=True,
            # Shrinking a walk takes minutes, and runs that race or are cut off do not repeat.
            phases=(hypothesis.Phase.explicit, hypothesis.Phase.reuse, hypothesis.Phase.generate),
            suppress_health_check=list(hypothesis.HealthCheck),
            **options,
        ),
    )


def test_a_wish_is_not_answered_by_what_an_older_order_had_made(
    database_url: str, tmp_path: Path
) -> None:
    """What a long walk found: an unsent row of a backfill led to the backfill's old picture."""
    backfill, [_, scene_id, *_] = Order(regenerate=True, token="backfill-2"), SCENES
    with open_stage(database_url, tmp_path / "home") as stage:
        stage.provider.reference_limit = 1
        film = type("FilmWalk", (FilmWalk,), {"stage": stage})()
        film.bring()
        film.run(backfill, "none")
        film.write(scene_id, PROMPTS[0])
        film.run(backfill, "too_busy")
        film.delete(scene_id)
        film.ask(scene_id, "")
        film.write(scene_id, PROMPTS[1])

        film.run_plainly()

        assert [request.state for request in film.model[scene_id].requests] == ["done"]


def test_a_short_walk_through_everything_that_can_happen(database_url: str, tmp_path: Path) -> None:
    with open_stage(database_url, tmp_path / "home") as stage:
        stage.provider.reference_limit = 1
        walk(stage, max_examples=10, stateful_step_count=20)


@pytest.mark.long
def test_a_long_walk_through_everything_that_can_happen(database_url: str, tmp_path: Path) -> None:
    with open_stage(database_url, tmp_path / "home") as stage:
        stage.provider.reference_limit = 1
        walk(stage, max_examples=200, stateful_step_count=50)
