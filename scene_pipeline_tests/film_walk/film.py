"""One film of a walk: its model, how a run of it is begun, and what must hold after every step.

Belongs here: what every step needs. Does not belong here: the steps themselves.
"""

import base64
import copy
import hashlib
import secrets
import uuid
from collections.abc import Iterator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, ClassVar, get_args

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize

from scene_pipeline.pipeline.library.adding import AssetDetails, add_file
from scene_pipeline.pipeline.making.stream import stream_frames
from scene_pipeline.pipeline.orders import FrameOrder, SceneOutcome, SceneRef
from scene_pipeline.pipeline.projects.importing import import_document
from scene_pipeline.scenes.requests import RequestOverrides
from scene_pipeline_tests.films import film
from scene_pipeline_tests.scene_facts import Library, Order, Trouble, Verdict, Wish
from scene_pipeline_tests.scene_model import SceneModel
from scene_pipeline_tests.scene_renaming import looking_for
from scene_pipeline_tests.stage import Stage, assert_invariants, looks_of
from scene_pipeline_tests.standins.pictures import scene_file
from scene_pipeline_tests.standins.scripted_provider import Fault

SCENES = ("scene_1", "scene_2", "scene_3", "scene_4")
WRITTEN = SCENES[:3]
"""Those that are written and imported; the last one comes into being by another's new name."""
PROMPTS = ("A lighthouse at dawn", "A storm at sea", "A calm harbour")
SUFFIX = "seen at night"
FAULTS: tuple[Fault, ...] = get_args(Fault)

ORDERS = st.one_of(
    st.builds(Order, refresh_stale=st.booleans()),
    st.builds(Order, regenerate=st.just(True), token=st.sampled_from(["backfill-1", "backfill-2"])),
    st.just(Order(regenerate=True, token="backfill-3", wish=Wish(SUFFIX))),
    st.just(Order(regenerate=True, token="backfill-4")),
)
# One picture each: a run that breaks off between two of one request keeps the first, whatever
# becomes of the second, and the model has one word for both (see `integration/test_candidates`).
WISHES = st.builds(Wish, st.sampled_from(["", SUFFIX]))
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
TROUBLES = st.builds(Trouble, st.sampled_from(FAULTS), st.sampled_from([False, False, True]))

Paths = dict[str, list[tuple[str, SceneModel]]]
"""Where a run can leave each scene: its stops, each with the scene as it is there."""


def own_words(prompts: dict[str, str]) -> dict[str, str]:
    """Words that no two scenes are given: only a scene that is renamed takes its own along."""
    return {scene_id: f"{prompt}, for {scene_id}" for scene_id, prompt in prompts.items()}


class Film(RuleBasedStateMachine):
    """A project, and the model of it."""

    stage: ClassVar[Stage]
    is_sound = False
    """Whether the last step ended as it should."""

    @initialize()
    def bring(self) -> None:
        self.key = f"film-{uuid.uuid4().hex[:12]}"
        self.library = Library()
        self.model = {scene_id: SceneModel(scene_id, None, self.library) for scene_id in SCENES}
        seed = secrets.randbits(30)  # pictures that no other walk has in the same store
        self.pictures = [scene_file("PNG", seed=seed + number) for number in range(3)]
        self.brought: set[str] = set()
        self.hero: str | None = None
        self.known: set[str] = set()
        self.looks = 0
        self._import(own_words({SCENES[0]: PROMPTS[0], SCENES[1]: PROMPTS[1]}))
        [row] = self.stage.sql("SELECT id FROM projects WHERE key = %s", self.key)
        self.project_id: uuid.UUID = row["id"]
        self._add(0)
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
            scene.shown = scene.picture if scene.prompt is not None else None
        self._see_who_left()

    def _edit(self, change: str, *values: Any) -> None:
        statement = f"UPDATE projects SET master_json = {change} WHERE key = %s"  # noqa: S608  # ours
        self.stage.sql(statement, *values, self.key)

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

    def living(self) -> list[str]:
        return [scene_id for scene_id, scene in self.model.items() if scene.prompt is not None]

    def ordered(self) -> list[str]:
        """What a run is about: the document's scenes, and those that it had once."""
        return [scene_id for scene_id in SCENES if scene_id in self.known.union(self.living())]

    # ---- runs of it

    def _begin(self, trouble: Trouble) -> None:
        self.is_sound = False
        self.stage.provider.is_history_down = trouble.is_history_down
        self.stage.provider.set_fault(trouble.fault)
        self._look_around()

    def _see_who_left(self) -> None:
        """Know who has left by now, as planning does, and whatever else brings a document."""
        self.looks += 1
        for scene_id, scene in self.model.items():
            is_gone = scene.prompt is None and scene_id in self.known
            scene.retired_at = (scene.retired_at or self.looks) if is_gone else 0

    def _look_around(self) -> None:
        """Know who has left, and what they leave to others."""
        self._see_who_left()
        for scene in self.model.values():
            scene.look_for_offer = lambda: None
        film = copy.deepcopy(self.model)
        for scene_id, scene in self.model.items():
            scene.look_for_offer = looking_for(scene_id, film)

    def _paths(self, order: Order, trouble: Trouble) -> Paths:
        return {
            scene_id: list(stops_of(copy.deepcopy(self.model[scene_id]), order, trouble))
            for scene_id in self.ordered()
        }

    def _adopt(self, paths: Paths) -> None:
        """Find the stop at which a run that was disturbed has left each scene."""
        looks = looks_of(self.stage, self.project_id, SCENES, SUFFIX)
        for scene_id, path in paths.items():
            fitting = [scene for _, scene in path if scene.look() == looks[scene_id]]
            if not fitting:
                stops = "\n".join(f"  {stop}: {scene.look()}" for stop, scene in path)
                pytest.fail(f"{scene_id} is {looks[scene_id]}, which is none of:\n{stops}")
            self.model[scene_id] = fitting[-1]

    async def _stream(self, order: Order, events: int | None = None) -> dict[str, str]:
        """Run the stream, to its end or for so many events; returns what became of the scenes."""
        frame_order = FrameOrder(
            scenes=tuple(SceneRef(self.key, scene_id) for scene_id in self.ordered()),
            mode="regenerate" if order.regenerate else "ensure",
            token=order.token,
            run_id=str(uuid.uuid4()),
            refresh_stale=order.refresh_stale,
            overrides=RequestOverrides(
                prompt_suffix=order.wish.suffix or None,
                candidates=order.wish.candidates if order.wish.candidates > 1 else None,
            ),
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


def stops_of(scene: SceneModel, order: Order, trouble: Trouble) -> Iterator[tuple[str, SceneModel]]:
    """The stops of a run of this very scene, each with a copy; the last is named by its status."""
    walk = scene.run(order, trouble)
    while True:
        try:
            stop = next(walk)
        except StopIteration as end:
            yield end.value, scene
            return
        yield stop, copy.deepcopy(scene)
