"""`scene-pipeline storage copy` and what is kept per project, as a person calls them."""

from uuid import uuid4

from scene_pipeline_tests.end_to_end.command_line import CommandLine
from scene_pipeline_tests.films import film
from scene_pipeline_tests.standins.seaweedfs import SeaweedFS


def test_a_library_moves_to_a_bucket_with_variables_of_its_own(
    cli: CommandLine, seaweedfs: SeaweedFS
) -> None:
    key = f"moved-{uuid4().hex[:8]}"
    made = cli.run(cli.write("film.json", film(["A lighthouse"], key=key)))
    place = f"s3://{seaweedfs.bucket}/{uuid4().hex}"
    variables = {
        "S3_ENDPOINT_URL": seaweedfs.http_url,
        "S3_ACCESS_KEY_ID": seaweedfs.access_key_id,
        "S3_SECRET_ACCESS_KEY": seaweedfs.secret_access_key,
    }
    env = cli.write(
        "there.env", "".join(f"{name}={value}\n" for name, value in variables.items()).encode()
    )
    wrong = {"S3_ENDPOINT_URL": "http://127.0.0.1:9", "S3_ACCESS_KEY_ID": "not-the-targets"}

    held = cli("storage", "copy", "--to", place, "--to-env", env, env=wrong)
    same = cli("status", key, "--json")
    told = cli("storage", "copy", "--to", place, "--to-env", env, "--trust-addresses", env=wrong)
    again = cli("storage", "copy", "--to", place, "--to-env", env, "--verify", "--trust-addresses",
                "--json")  # fmt: skip
    shown = cli("status", key, "--json")
    switched = cli("reconcile", key, "--json", env={**variables, "SCENE_PIPELINE_STORAGE": place})
    back = cli(
        "storage",
        "copy",
        "--to",
        (cli.home / "frames").as_uri(),
        "--json",
        env={**variables, "SCENE_PIPELINE_STORAGE": place},
    )

    assert held.code == 1
    assert "[addresses_unreadable]" in held.out
    assert "Everything is there. No address was changed." in held.out
    assert '"Action": "s3:GetObject"' in held.out
    assert [scene["url"] for scene in same.document["scenes"]] == [
        scene["url"] for scene in made.document["scenes"]
    ]
    assert "--trust-addresses" in told.out
    assert (made.code, told.code, again.code, switched.code, back.code) == (0, 0, 0, 0, 0), (
        told.err + again.err + back.err
    )
    assert f"SCENE_PIPELINE_STORAGE={place}" in told.out
    assert "Addresses corrected" in told.out
    assert again.document["unreadable"] is None
    assert seaweedfs.secret_access_key not in told.out + again.out
    assert again.document["sent"]["objects"] == 0
    assert again.document["verified"] == again.document["copied"]["objects"] > 0
    assert again.document["set"] == {"SCENE_PIPELINE_STORAGE": place}
    [scene] = shown.document["scenes"]
    assert scene["url"].startswith(seaweedfs.http_url)
    assert switched.document["drifts"] == []
    assert (back.document["addresses"], back.document["sent"]["objects"]) == ("wait_for_switch", 0)
    home = cli("storage", "copy", "--to", (cli.home / "frames").as_uri(), "--json")
    assert (home.code, home.document["addresses"]) == (0, "corrected")
    [scene] = cli("status", key, "--json").document["scenes"]
    [first] = made.document["scenes"]
    assert scene["url"] == first["url"]


def test_a_store_that_cannot_be_used_is_named_before_anything_is_done(cli: CommandLine) -> None:
    secret = cli("storage", "copy", "--to", "s3://key:hunter2@bucket")
    nowhere = cli("storage", "copy", "--to", "memory://")
    no_file = cli("storage", "copy", "--to", "s3://bucket", "--to-env", "missing.env", "--json")

    assert (secret.code, nowhere.code, no_file.code) == (2, 2, 2)
    assert "hunter2" not in secret.err
    assert "[storage_target_invalid]" in nowhere.err
    assert no_file.document["error"]["code"] == "target_env_unreadable"


def test_what_is_kept_is_set_per_project_and_told_with_bytes_and_money(cli: CommandLine) -> None:
    key = f"kept-{uuid4().hex[:8]}"
    file = cli.write("film.json", film(["A lighthouse"], key=key))
    cli.run(file)
    cli.run(file, "--regenerate")
    before = cli("collect", "--json").document["retention"]

    both = cli("project", key, "--keep-versions", "2", "--keep-defaults")
    none = cli("project", key, "--keep-versions", "0")
    changed = cli("project", key, "--keep-versions", "1", "--keep-days", "0", "--json")
    told = cli("collect")
    report = cli("collect", "--json").document["retention"]
    reset = cli("project", key, "--keep-defaults")

    assert (both.code, none.code, changed.code, reset.code) == (2, 2, 0, 0)
    assert changed.document["changed"] == ["kept_versions"]
    assert (changed.document["keep_versions"], changed.document["keep_days"]) == (1, 0)
    assert "as the installation says" in reset.out
    assert key in told.out
    assert "newest 1, younger than 0 days (its own)" in told.out
    # What other tests left in this store may stand between the two.
    assert "needed by nothing:\n" in told.out
    assert "Nothing was changed. Remove it with:" in told.out
    [mine] = [project for project in report["projects"] if project["project"] == key]
    assert mine["kept"]["current"] == 1
    assert mine["gives_up"]["versions"] == 1
    assert mine["gives_up"]["freed_bytes"] > 0
    assert report["versions"] == before["versions"] + 1
