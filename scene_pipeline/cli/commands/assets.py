"""The library: bringing things in, finding, naming, tagging and removing them."""

from typing import Annotated

import typer

from scene_pipeline.cli.commands.arguments import AsJson
from scene_pipeline.cli.terminal import Terminal

assets = typer.Typer(
    name="assets",
    help="The library: files, imported media, and every generated frame.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
AssetId = Annotated[str, typer.Argument(metavar="ID", help="ast_..., or frm_... for a frame.")]
Kind = Annotated[
    str | None,
    typer.Option(
        metavar="KIND",
        help="image, video, audio, document, element_image, scene_video or final_render.",
    ),
]
Tags = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="TAG", help="May be given several times."),
]
OfProject = Annotated[
    str | None, typer.Option("--project", metavar="KEY", help="The project it belongs to.")
]
Client = Annotated[str | None, typer.Option("--client", metavar="ID", help="Of a client.")]
Campaign = Annotated[str | None, typer.Option("--campaign", metavar="ID", help="Of a campaign.")]


@assets.command()
def add(  # noqa: PLR0917  # options of the command line are keywords
    source: Annotated[
        list[str], typer.Argument(metavar="FILE|URL...", help="Files, and addresses to import.")
    ],
    kind: Kind = None,
    name: Annotated[
        str | None, typer.Option(metavar="TEXT", help="In place of the file's own name.")
    ] = None,
    tag: Tags = None,
    project: OfProject = None,
    client: Client = None,
    campaign: Campaign = None,
    replace: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Give this asset the bytes; it keeps id, name and place."),
    ] = None,
    json: AsJson = False,
) -> int:
    """Bring files and addresses into the library; one bad one does not hold up the rest."""
    from scene_pipeline.cli.assets import AddArguments  # noqa: PLC0415
    from scene_pipeline.cli.assets import add as carry_out  # noqa: PLC0415

    arguments = AddArguments(
        sources=tuple(dict.fromkeys(source)),
        kind=kind,
        name=name,
        tags=tuple(tag or ()),
        project_key=project,
        client_id=client,
        campaign_id=campaign,
        replace=replace,
    )
    return carry_out(Terminal(is_json=json), arguments)


@assets.command("list")
def list_assets(  # noqa: PLR0917  # options of the command line are keywords
    text: Annotated[
        str | None,
        typer.Option(metavar="WORDS", help="Words, or beginnings of words, of names and prompts."),
    ] = None,
    tag: Tags = None,
    kind: Annotated[str | None, typer.Option(metavar="KIND", help="As of `add`, or frame.")] = None,
    project: OfProject = None,
    client: Client = None,
    campaign: Campaign = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Made by this model of a provider.")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Made with this seed.")] = None,
    after: Annotated[
        str | None, typer.Option(metavar="DATE", help="From this day or moment on.")
    ] = None,
    before: Annotated[
        str | None, typer.Option(metavar="DATE", help="Up to this day or moment.")
    ] = None,
    no_frames: Annotated[
        bool, typer.Option("--no-frames", help="Leave generated frames out.")
    ] = False,
    limit: Annotated[int, typer.Option(metavar="N", help="Entries of one page, 1 to 200.")] = 50,
    cursor: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Go on where a page ended.")
    ] = None,
    json: AsJson = False,
) -> int:
    """Show what is in the library, newest first; all conditions must hold."""
    from scene_pipeline.cli.assets_list import list_library, read_moment  # noqa: PLC0415
    from scene_pipeline.cli.assets_words import read_library_kind  # noqa: PLC0415
    from scene_pipeline.pipeline.library.searching import LibraryQuery  # noqa: PLC0415

    query = LibraryQuery(
        text=text,
        tags=tuple(tag or ()),
        kind=read_library_kind(kind),
        project_key=project,
        client_id=client,
        campaign_id=campaign,
        model=model,
        seed=seed,
        created_after=read_moment("--after", after),
        created_before=read_moment("--before", before),
        include_frames=not no_frames,
        limit=limit,
        cursor=cursor,
    )
    return list_library(Terminal(is_json=json), query)


@assets.command()
def show(asset: AssetId, json: AsJson = False) -> int:
    """Show everything that is known of an asset or a frame, and who needs it."""
    from scene_pipeline.cli.assets_list import show_asset  # noqa: PLC0415

    return show_asset(Terminal(is_json=json), asset)


@assets.command()
def rename(
    asset: AssetId,
    name: Annotated[str, typer.Argument(metavar="NAME", help="1 to 300 printable characters.")],
    json: AsJson = False,
) -> int:
    """Give an asset another name; its id and its address stay."""
    from scene_pipeline.cli.assets_change import rename  # noqa: PLC0415

    return rename(Terminal(is_json=json), asset, name)


@assets.command()
def tag(
    asset: AssetId,
    add: Annotated[
        list[str] | None, typer.Option("--add", metavar="TAG", help="May be given several times.")
    ] = None,
    remove: Annotated[
        list[str] | None,
        typer.Option("--remove", metavar="TAG", help="May be given several times."),
    ] = None,
    json: AsJson = False,
) -> int:
    """Add tags to an asset, and remove some."""
    from scene_pipeline.cli.assets_change import tag_asset  # noqa: PLC0415

    return tag_asset(Terminal(is_json=json), asset, add=add or (), remove=remove or ())


@assets.command()
def rm(
    asset: AssetId,
    force: Annotated[
        bool, typer.Option("--force", help="Also where documents name it: their scenes block.")
    ] = False,
    json: AsJson = False,
) -> int:
    """Remove an asset that nobody needs; its bytes go after the period of grace."""
    from scene_pipeline.cli.assets_change import remove  # noqa: PLC0415

    return remove(Terminal(is_json=json), asset, force=force)


@assets.command()
def url(
    asset: AssetId,
    signed: Annotated[
        int | None,
        typer.Option(metavar="SECONDS", help="One that works for so long, for whoever has it."),
    ] = None,
    form: Annotated[
        str | None, typer.Option(metavar="FORM", help="thumbnail or webp, made where missing.")
    ] = None,
    json: AsJson = False,
) -> int:
    """Print the permanent address of an asset or frame, or another one."""
    from scene_pipeline.cli.assets_change import print_url  # noqa: PLC0415

    return print_url(Terminal(is_json=json), asset, signed_seconds=signed, form=form)


@assets.command()
def imports(project: OfProject = None, json: AsJson = False) -> int:
    """Show what was asked to be imported, newest first, and how far it is."""
    from scene_pipeline.cli.assets_imports import show_imports  # noqa: PLC0415

    return show_imports(Terminal(is_json=json), project)
