"""A library for tests: the pipeline on real parts, and things brought into it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from scene_pipeline.database.derivatives import DerivativeForm
from scene_pipeline.database.rows import Connection
from scene_pipeline.pipeline.library.adding import AddedAsset, AssetDetails, add_file
from scene_pipeline.pipeline.library.deriving import derivative_key
from scene_pipeline.pipeline.library.searching import LibraryQuery, search
from scene_pipeline.pipeline.services import Services
from scene_pipeline.pipeline.upkeep.collect import collect
from scene_pipeline_tests.films import Studio
from scene_pipeline_tests.standins.pictures import scene_file

P = ParamSpec("P")
T = TypeVar("T")
MOMENT = datetime(2026, 11, 20, 12, tzinfo=UTC)


def details(**given: Any) -> AssetDetails:
    """What is said of a file; of a picture unless said otherwise."""
    return AssetDetails(**{"kind": "image", "name": "", "source": "file", **given})


@dataclass
class Library:
    """Files of this test, and the library they are brought into."""

    studio: Studio
    folder: Path
    asked_at: datetime = field(default=MOMENT)

    def file(self, name: str = "hero.png", data: bytes | None = None, *, seed: int = 1) -> Path:
        """A file of the test's own: a picture, unless bytes are given."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(scene_file("PNG", seed) if data is None else data)
        return path

    def add(self, path: Path, replace: str | None = None, **given: Any) -> AddedAsset:
        """Bring a file in."""

        async def work(services: Services) -> AddedAsset:
            return await add_file(
                services, path, details(**given), asked_at=self.asked_at, replace=replace
            )

        return self.studio.do(work)

    def found(self, **asked: Any) -> list[str]:
        """Names of what a question finds, newest first."""

        async def work(services: Services) -> list[str]:
            async with services.pool.connection() as conn:
                return [row.name for row in (await search(conn, LibraryQuery(**asked))).items]

        return self.studio.do(work)

    def connected(
        self,
        work: Callable[Concatenate[Connection, P], Awaitable[T]],
        *arguments: P.args,
        **named: P.kwargs,
    ) -> T:
        """Do something that takes a connection first."""

        async def carry_out(services: Services) -> T:
            async with services.pool.connection() as conn:
                await conn.set_autocommit(True)
                return await work(conn, *arguments, **named)

        return self.studio.do(carry_out)

    def form_url(self, storage_key: str, form: DerivativeForm = "thumbnail") -> str:
        """The permanent address of another form of a picture."""

        async def work(services: Services) -> str:
            return services.store.url(await derivative_key(services, storage_key, form))

        return self.studio.do(work)

    def sweep(self, *, is_grace_over: bool = True) -> None:
        """Collect garbage, with the period of grace of everything over."""
        if is_grace_over:
            self.studio.sql("UPDATE storage_objects SET created_at = now() - interval '9 days'")
        self.studio.do(lambda services: collect(services, apply=True))

    def objects(self) -> dict[str, tuple[str, int]]:
        """State and references of every object that was ever announced."""
        rows = self.studio.sql("SELECT key, state, refcount FROM storage_objects")
        return {row["key"]: (row["state"], row["refcount"]) for row in rows}

    def stored_files(self) -> set[str]:
        """Keys of what really lies in the store."""
        root = self.studio.settings.home_directory / "frames"
        files = {str(path.relative_to(root)) for path in root.rglob("*.*") if path.is_file()}
        return {key for key in files if not key.startswith(".")}

    def assert_sound(self) -> None:
        """Every object is counted as often as it is referred to, and lies where the rows say."""
        wrong = self.studio.sql(
            "SELECT o.key, o.refcount FROM storage_objects o WHERE o.state = 'present'"
            " AND o.refcount <> (SELECT count(*) FROM user_assets a"
            "    WHERE a.storage_key = o.key AND a.deleted_at IS NULL)"
            "  + (SELECT count(*) FROM derivatives d WHERE d.storage_key = o.key)"
            "  + (SELECT count(*) FROM scene_images i WHERE i.storage_path = o.key)"
        )
        assert wrong == []
        present = {key for key, (state, _) in self.objects().items() if state == "present"}
        assert present <= self.stored_files()
