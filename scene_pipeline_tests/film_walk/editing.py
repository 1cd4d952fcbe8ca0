"""What editors and other programs do to the document, and to the pictures that it names.

Belongs here: steps that change either. Does not belong here: what people ask for (`people`).
"""

import asyncio
import copy
import json
from collections.abc import Iterator

from hypothesis import strategies as st
from hypothesis.stateful import rule

from scene_pipeline.pipeline.library.removing import remove_asset
from scene_pipeline_tests.film_walk.film import (
    ORDERS,
    PROMPTS,
    SCENES,
    TROUBLES,
    WRITTEN,
    Paths,
    own_words,
    stops_of,
)
from scene_pipeline_tests.film_walk.running import Running
from scene_pipeline_tests.scene_facts import Order, Trouble
from scene_pipeline_tests.scene_model import SceneModel


class Editing(Running):
    """Words, names and pictures."""

    @rule(scene_id=st.sampled_from(WRITTEN), prompt=st.sampled_from(PROMPTS))
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
        if self.living() == [scene_id]:
            return  # a document without scenes is none
        self._edit("master_json #- %s", ["scenes", scene_id])
        self.model[scene_id].prompt = None
        self.model[scene_id].shown = None
        self._name(self.model[scene_id], None)
        self.check()

    @rule(scene_id=st.sampled_from(SCENES), new_id=st.sampled_from(SCENES), trouble=TROUBLES)
    def rename(self, scene_id: str, new_id: str, trouble: Trouble) -> None:
        """Give a scene's whole entry another key: one without a frame, or over what is there."""
        if self.model[scene_id].prompt is None:
            scene_id = self.living()[0]
        unused = [other for other in SCENES if self.model[other].now is None]
        if new_id == scene_id and unused:
            new_id = unused[-1]
        scene, renamed = self.model[scene_id], self.model[new_id]
        if scene is renamed:
            return
        self._edit(
            "jsonb_set(master_json, %s, master_json #> %s) #- %s",
            ["scenes", new_id],
            ["scenes", scene_id],
            ["scenes", scene_id],
        )
        renamed.shown, renamed.prompt, asset = scene.shown, scene.prompt, scene.asset
        scene.prompt = scene.shown = None
        self._name(scene, None)
        self._name(renamed, asset)
        self.check()
        self.run(Order(), trouble)

    @rule(scene_id=st.sampled_from(SCENES))
    def clear(self, scene_id: str) -> None:
        """Another program removes the frame's URL."""
        self._edit("master_json #- %s", ["scenes", scene_id, "scene_start_frame"])
        self.model[scene_id].shown = None
        self.check()

    @rule(prompts=st.fixed_dictionaries(
        {SCENES[0]: st.sampled_from(PROMPTS)},
        optional={scene_id: st.sampled_from(PROMPTS) for scene_id in WRITTEN[1:]},
    ))  # fmt: skip
    def bring_again(self, prompts: dict[str, str]) -> None:
        self._import(own_words(prompts))
        self.check()

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
        known = self.stage.sql(
            "SELECT sha256 FROM reference_pictures WHERE project_id = %s AND reference = %s",
            self.project_id,
            f"asset:{hero}",
        )
        if known:  # bytes that came since nobody looked: what cannot be sent is no other picture
            self.library.digests[hero] = known[0]["sha256"]
        self.check()

    @rule(order=ORDERS, trouble=TROUBLES, place=st.integers(0, 2))
    def give_other_bytes_during_a_run(self, order: Order, trouble: Trouble, place: int) -> None:
        """Each scene ends as if they had come at some moment of its own way."""
        hero = self.hero
        if hero is None or hero in self.library.deleted:
            return
        self._begin(trouble)
        before = self.library.digests[hero]
        lengths = {scene_id: len(path) for scene_id, path in self._paths(order, trouble).items()}

        async def work() -> None:
            await asyncio.gather(self._stream(order), self._bring_picture(place))

        self.stage.do(work())
        after = self.library.digests[hero]

        def stops(scene_id: str, moment: int) -> Iterator[tuple[str, SceneModel]]:
            scene = copy.deepcopy(self.model[scene_id])
            for number, stop in enumerate(stops_of(scene, order, trouble)):
                yield stop
                self.library.digests[hero] = before if number < moment else after

        paths: Paths = {}
        for scene_id, length in lengths.items():
            paths[scene_id] = []
            for moment in range(length):
                self.library.digests[hero] = before if moment else after
                *_, last = stops(scene_id, moment)
                paths[scene_id].append(last)
        self.library.digests[hero] = after
        self._adopt(paths)
        self.check()
