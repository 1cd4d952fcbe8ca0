"""A random walk through everything that can happen to a film, against a model in plain Python.

Real PostgreSQL, the real stream, real downloads and decoding; money and time are scripted. After
every step the database, the meter and the document must look as `scene_model` says.
"""

import secrets
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import stateful

from scene_pipeline_tests.film_walk.film import PROMPTS, SCENES
from scene_pipeline_tests.film_walk.people import People
from scene_pipeline_tests.scene_facts import Order, Trouble, Wish
from scene_pipeline_tests.stage import Stage, open_stage


class FilmWalk(People):
    """What may happen to a film, in any order, and the end of it."""

    def teardown(self) -> None:
        """At the end of the walk two plain runs finish what is open.

        The first one may find out that a lost request was never sent, for words that are gone.
        """
        if not self.is_sound:
            return
        for scene_id, scene in self.model.items():
            if scene.asset in self.library.deleted:  # it waits for a person, as it should
                self.name(scene_id, is_named=False)
        self.run(Order(), Trouble())
        self.run(Order(), Trouble())
        unfinished = self.stage.sql(
            "SELECT scene_id, state FROM generations WHERE project_id = %s AND scene_id = ANY(%s)"
            " AND state NOT IN ('published', 'superseded', 'failed', 'abandoned')",
            self.project_id,
            self.living(),
        )
        assert unfinished == [], "I6: neither finished nor due"


def walk(stage: Stage, **options: Any) -> None:
    """Walk as often and as far as the options say; a failure prints its seed and its steps."""
    machine = type("FilmWalk", (FilmWalk,), {"stage": stage})
    seed = secrets.randbits(64)
    print(f"\nseed {seed}: repeat with @hypothesis.seed({seed})")  # noqa: T201  # pytest shows it
    stateful.run_state_machine_as_test(
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
        film.run(backfill, Trouble())
        film.write(scene_id, PROMPTS[0])
        film.run(backfill, Trouble("too_busy"))
        film.delete(scene_id)
        film.ask(scene_id, Wish())
        film.write(scene_id, PROMPTS[1])

        film.run_plainly()

        assert [request.state for request in film.model[scene_id].requests] == ["done"]


def test_a_picture_that_is_replaced_and_deleted_before_anybody_looked_is_what_was_known_of_it(
    database_url: str, tmp_path: Path
) -> None:
    """What a long walk found: the model took it for the picture that nobody had seen."""
    [_, scene_id, *_] = SCENES
    with open_stage(database_url, tmp_path / "home") as stage:
        stage.provider.reference_limit = 1
        film = type("FilmWalk", (FilmWalk,), {"stage": stage})()
        film.bring()
        film.name(scene_id, is_named=True)
        film.run_plainly()
        film.give_other_bytes(1)
        film.remove()

        film.run_plainly()  # it is not stale: what cannot be sent is no other picture

        row = film.model[scene_id].current
        assert row is not None
        assert row.content == film.model[scene_id].content


def test_a_scene_that_was_back_for_an_import_alone_has_left_anew(
    database_url: str, tmp_path: Path
) -> None:
    """What a long walk found: the model took it for gone ever since its first absence."""
    first, second, third, _ = SCENES
    with open_stage(database_url, tmp_path / "home") as stage:
        stage.provider.reference_limit = 1
        film = type("FilmWalk", (FilmWalk,), {"stage": stage})()
        film.bring()
        film.run_plainly()
        film.rename(first, second, Trouble())
        film.run(Order(refresh_stale=True), Trouble())  # both have a picture of these words now
        film.bring_again({first: PROMPTS[0]})

        film.rename(first, third, Trouble())

        assert film.model[third].picture == f"{first}, version 1"


def test_a_second_run_takes_over_what_the_first_made_for_a_scene_that_has_gone(
    database_url: str, tmp_path: Path
) -> None:
    """What a long walk found: the model of two runs at once looked around for the first only."""
    with open_stage(database_url, tmp_path / "home") as stage:
        stage.provider.reference_limit = 1
        film = type("FilmWalk", (FilmWalk,), {"stage": stage})()
        film.bring()
        film.run(Order(), Trouble("lost_and_history_down"))
        film.rename(SCENES[0], SCENES[2], Trouble("dies_for_good", is_history_down=True))

        film._begin(Trouble())
        for _ in range(2):  # the first makes the frame of the scene that has gone
            stage.do(film._stream(Order()))

        film.adopt_two_runs()
        film.check()

        assert film.model[SCENES[2]].picture == f"{SCENES[0]}, version 1"


def test_a_short_walk_through_everything_that_can_happen(database_url: str, tmp_path: Path) -> None:
    with open_stage(database_url, tmp_path / "home") as stage:
        stage.provider.reference_limit = 1
        walk(stage, max_examples=10, stateful_step_count=20)


@pytest.mark.long
def test_a_long_walk_through_everything_that_can_happen(database_url: str, tmp_path: Path) -> None:
    with open_stage(database_url, tmp_path / "home") as stage:
        stage.provider.reference_limit = 1
        walk(stage, max_examples=200, stateful_step_count=50)
