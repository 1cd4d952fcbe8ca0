"""What a scene that left the document leaves to one that has no picture yet: the model of renaming.

Belongs here: who gives what to whom, from all scenes of a film. Does not belong here: what becomes
of it (`scene_model`).
"""

from collections.abc import Callable, Iterator, Mapping

from scene_pipeline_tests.scene_facts import Content, Offer
from scene_pipeline_tests.scene_model import SceneModel


def looking_for(scene_id: str, film: Mapping[str, SceneModel]) -> Callable[[], Offer | None]:
    """What a scene asks when it is planned; `film` is as all of it is when the run begins."""
    return lambda: _offer_to(scene_id, film)


def _offer_to(scene_id: str, film: Mapping[str, SceneModel]) -> Offer | None:
    """The picture that the scene can have for nothing, if any.

    Equal scenes are served one after the other, those that never had anything first, each by
    another picture; the picture of whoever left last goes first.
    """
    content = film[scene_id].content
    wanting = [
        (bool(scene.rows), other_id)
        for other_id, scene in film.items()
        if scene.content == content and _has_nothing(scene)
    ]
    places = [other_id for _, other_id in sorted(wanting)]
    if scene_id not in places:
        return None
    return dict(zip(places, _offers(content, film), strict=False)).get(scene_id)


def _has_nothing(scene: SceneModel) -> bool:
    """Whether nobody has made, begun or asked for a picture of what it says."""
    return (
        scene.prompt is not None
        and scene.now is None
        and scene.open_row is None
        and all(request.state != "pending" for request in scene.requests)
        and not _versions(scene, scene.content)
    )


def _versions(scene: SceneModel, content: Content) -> list[int]:
    """Its sound versions of some content, the current one last."""
    found = [
        version
        for version, row in enumerate(scene.frames, 1)
        if row.content == content and not row.is_blank
    ]
    return sorted(found, key=lambda version: version == scene.now)


def _offers(content: Content, film: Mapping[str, SceneModel]) -> Iterator[Offer]:
    """What those that left have of it: each picture once, and nothing that is in use."""
    givers = {row.offer.giver for scene in film.values() for row in scene.rows if row.offer}
    living = [scene for scene in film.values() if scene.prompt is not None]
    used = {picture for scene in living for picture in scene.pictures}
    leavers = [
        (scene.retired_at, scene_id)
        for scene_id, scene in film.items()
        if scene.prompt is None and scene.retired_at and scene_id not in givers
    ]
    for _, scene_id in sorted(leavers, key=lambda leaver: (-leaver[0], leaver[1])):
        versions = _versions(film[scene_id], content)
        if versions:
            version = versions[-1] - 1
            picture, row = film[scene_id].pictures[version], film[scene_id].frames[version]
            if picture not in used:
                used.add(picture)
                yield Offer(scene_id, picture, row.wish.suffix)
